"""The loop's other half: reads the log, decides what to train, runs the cycle and watches its result.

It knows the store, retrieval and fine-tuning; it never imports the settings (only `__main__` does) and names no task.
"""

"""The product people talk to: prompt, engine, live adapter, answers, HTTP."""

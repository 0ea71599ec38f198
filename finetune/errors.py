"""Why nothing can be trained, as sentences."""


class TrainingError(ValueError):
    """Nothing can be trained; the message says what was found and what to do."""

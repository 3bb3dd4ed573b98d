"""What stops a training job before its first step."""


class TrainingError(Exception):
    """Somebody must change something. The message is one line: what is wrong and what to do about it."""

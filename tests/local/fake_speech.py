"""The key, the clock and a submission for tests of the fake Speech service."""

KEY = "the-key"

#: The body of a submission.
WORK = {"inputKind": "PlainText", "inputs": [{"content": "Hello."}]}


class Clock:
    """Seconds that the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

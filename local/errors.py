"""What the local tools tell a person when they cannot go on."""


class LocalError(Exception):
    """One line that says what is wrong and what to do about it; the program ends with it and exit code 1."""

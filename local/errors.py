"""What the local tools tell a person when they cannot go on."""

from pydantic import ValidationError


class LocalError(Exception):
    """One line that says what is wrong and what to do about it; the program ends with it and exit code 1."""


def what_is_wrong(error: ValidationError) -> str:
    """Name every field that is wrong, in one line."""
    places = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
    return "; ".join(f"{where}: {what}" if where else what for where, what in places)

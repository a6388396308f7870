"""Error messages of the local tools for people."""

from pydantic import ValidationError


class LocalError(Exception):
    """One line with the problem and the remedy. The program ends with this line and exit code 1."""


def what_is_wrong(error: ValidationError) -> str:
    """List all invalid fields in one line."""
    places = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
    return "; ".join(f"{where}: {what}" if where else what for where, what in places)

"""Errors of Azure's shape."""

from local.answer import Answer


def fault(status: int, code: str, message: str) -> Answer:
    """Make one, with the header that names its code."""
    return Answer.of({"error": {"code": code, "message": message}}, status=status, headers={"x-ms-error-code": code})

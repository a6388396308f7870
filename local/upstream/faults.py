"""Errors of Azure's shape."""

from local.answer import Answer


def fault(status: int, code: str, message: str) -> Answer:
    """Create an error of Azure's shape, with the header for the code."""
    return Answer.of({"error": {"code": code, "message": message}}, status=status, headers={"x-ms-error-code": code})

"""Reads JSON objects that clients send, and says what is wrong with them field by field."""

import re
from codecs import BOM_UTF8
from typing import Any

import azure.functions as func
from pydantic import ValidationError
from pydantic_core import from_json

from bridge.api.errors import Detail, Problem

#: A larger body is refused.
MAX_BODY_BYTES = 65_536

#: No charset or UTF-8, as clients write it. `utf8` is a name of it too (WHATWG Encoding, 4.2).
_CHARSET = re.compile(r'\s*(charset\s*=\s*("utf-?8"|utf-?8)\s*)?;?\s*', re.IGNORECASE)

_CODES = {"missing": "Required", "extra_forbidden": "Unknown"}
#: What is wrong in our words, with what pydantic knows of it.
_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not known to this call",
    "string_type": "must be a string",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "int_type": "must be a whole number",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must not be empty",
}


def read_object(request: func.HttpRequest) -> dict[str, Any]:
    """Read the body as a JSON object. A byte order mark before it is passed over (RFC 8259, 8.1).

    Raises Problem with 400, 411, 413 or 415.
    """
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise _unsupported("Send the body without a Content-Encoding: this call decodes none.", "Content-Encoding")
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json" or not _CHARSET.fullmatch(parameters):
        raise _unsupported("Send application/json in UTF-8.", "Content-Type")
    raw = request.get_body().removeprefix(BOM_UTF8)
    if not raw and request.headers.get("transfer-encoding"):
        message = "Send the body with a Content-Length: the platform loses a body that comes in chunks."
        raise Problem(411, "LengthRequired", message, target="Content-Length")
    if len(raw) > MAX_BODY_BYTES:
        raise Problem(413, "PayloadTooLarge", f"A body has at most {MAX_BODY_BYTES} bytes.")
    try:
        parsed = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, "InvalidJson", f"The body is not JSON that can be read: {error}") from None
    if not isinstance(parsed, dict):
        raise Problem(400, "InvalidJson", "The body is not a JSON object.")
    return parsed


def _unsupported(message: str, target: str) -> Problem:
    """Refuse how a body is written, with the codings that are taken (RFC 9110, 15.5.16)."""
    return Problem(415, "UnsupportedMediaType", message, target=target, headers={"Accept-Encoding": "identity"})


def details_of(error: ValidationError) -> list[Detail]:
    """Name every field that is wrong."""
    return [
        Detail(
            _CODES.get(problem["type"], "InvalidValue"),
            _MESSAGES.get(problem["type"], "{msg}").format(msg=problem["msg"], **problem.get("ctx", {})),
            ".".join(str(part)[:64] for part in problem["loc"]),
        )
        for problem in error.errors(include_url=False, include_input=False)
    ]

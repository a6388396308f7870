"""An answer that others may keep, and that is not sent again to whoever has it (RFC 9111; RFC 9110, 13.1.2)."""

import hashlib
import json
from collections.abc import Mapping

import azure.functions as func

#: Everybody may keep it for an hour: a key is published long before it is the only one that signs.
CACHE_CONTROL = "public, max-age=3600"


def cacheable(body: Mapping[str, object], request: func.HttpRequest) -> func.HttpResponse:
    """Answer with a body and its ETag, or 304 to a caller who has it."""
    text = json.dumps(body)
    etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = {"Cache-Control": CACHE_CONTROL, "ETag": etag}
    if _has(request, etag):
        return func.HttpResponse(status_code=304, headers=headers)
    return func.HttpResponse(text, mimetype="application/json", headers=headers)


def _has(request: func.HttpRequest, etag: str) -> bool:
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return etag in known or "*" in known

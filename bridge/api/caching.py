"""Which answers a cache keeps, and when an answer is not sent again (RFC 9111; RFC 9110, 13.1.2)."""

import hashlib
import json
from collections.abc import Mapping

import azure.functions as func

from bridge.api.compression import UNCOMPRESSED

#: Everybody may keep it for an hour: a key is published long before it is the only one that signs.
CACHE_CONTROL = "public, max-age=3600"

#: Kept, and asked for each time: an upgrade is seen at once.
ASK_AGAIN = "no-cache"

#: What a page is sent with beside its policy: it is what it says, and tells nobody where somebody came from.
PAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def uncached(
    body: Mapping[str, object], *, status: int = 200, location: str | None = None, is_secret: bool = False
) -> func.HttpResponse:
    """Answer with a body that no cache keeps and, if it holds a secret, that nothing compresses."""
    control = f"no-store, {UNCOMPRESSED}" if is_secret else "no-store"
    headers = {"Cache-Control": control} | ({} if location is None else {"Location": location})
    text = json.dumps(body, ensure_ascii=False)
    return func.HttpResponse(text, status_code=status, mimetype="application/json", headers=headers)


def cacheable(body: Mapping[str, object], request: func.HttpRequest) -> func.HttpResponse:
    """Answer with a body and its ETag, or 304 to a caller who has it."""
    return _kept(json.dumps(body), request, "application/json", {"Cache-Control": CACHE_CONTROL})


def web_page(html: str, request: func.HttpRequest, policy: str) -> func.HttpResponse:
    """Answer with a page, its Content-Security-Policy and its ETag, or 304 to a browser that has it."""
    headers = {"Cache-Control": ASK_AGAIN, "Content-Security-Policy": policy, **PAGE_HEADERS}
    return _kept(html, request, "text/html", headers)


def _kept(text: str, request: func.HttpRequest, mimetype: str, headers: Mapping[str, str]) -> func.HttpResponse:
    # Weak: the answer may be compressed, and a strong one would have to differ then (RFC 9110, 8.8.3).
    etag = f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    known = {**headers, "ETag": etag, "Vary": "Accept-Encoding"}
    if _has(request, etag):
        return func.HttpResponse(status_code=304, headers=known)
    return func.HttpResponse(text, mimetype=mimetype, charset="utf-8", headers=known)


def _has(request: func.HttpRequest, etag: str) -> bool:
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return etag.removeprefix("W/") in known or "*" in known

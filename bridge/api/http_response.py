"""Responses: which of them a cache keeps, which are not sent again, and which are compressed.

Sources: RFC 9111 (caches), RFC 9110, 13.1.2 (`If-None-Match`) and 12.5.3 (`Accept-Encoding`).
"""

import gzip
import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus

import azure.functions as func

from bridge.api.responses import Response

#: A shorter body fits into one packet with its headers, so that compression saves no time.
MIN_BYTES = 1_024

#: The directive of answers that hold a secret (RFC 9111, 5.2.2.6): the length of a compressed answer could give the
#: secret away to a client that chooses the rest of the answer (the BREACH attack, CVE-2013-3587).
UNCOMPRESSED = "no-transform"

#: Level 6 makes the description of the API 10% shorter than level 4, and takes 1.8 times as long.
_LEVEL = 4

_WEIGHT = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


def compressed(response: func.HttpResponse, request: func.HttpRequest) -> func.HttpResponse:
    """Return the answer compressed with gzip if the client accepts that and saves time by it, or as it is."""
    body = response.get_body()
    may_not = UNCOMPRESSED in response.headers.get("Cache-Control", "")
    if len(body) < MIN_BYTES or may_not or not accepts_gzip(request.headers.get("accept-encoding", "")):
        return response
    return func.HttpResponse(
        gzip.compress(body, _LEVEL, mtime=0),
        status_code=response.status_code,
        headers={**response.headers, "Content-Encoding": "gzip"},
        mimetype=response.mimetype,
        charset=response.charset,
    )


def accepts_gzip(header: str) -> bool:
    """Tell whether an `Accept-Encoding` allows gzip and likes it no less than an answer without coding."""
    weights: dict[str, float] = {}
    for each in header.lower().split(","):
        coding, _, parameter = (part.strip() for part in each.partition(";"))
        weight = _WEIGHT.fullmatch(parameter)
        weights[coding] = 1.0 if not parameter else float(weight[1]) if weight else 0.0
    gzip_weight = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip_weight > 0 and gzip_weight >= weights.get("identity", 0.0)


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
    body: Response, *, status: HTTPStatus = HTTPStatus.OK, location: str | None = None, is_secret: bool = False
) -> func.HttpResponse:
    """Answer with a body that no cache keeps and, if it holds a secret, that nothing compresses."""
    control = f"no-store, {UNCOMPRESSED}" if is_secret else "no-store"
    headers = {"Cache-Control": control} | ({} if location is None else {"Location": location})
    return func.HttpResponse(body.text(), status_code=status, mimetype="application/json", headers=headers)


def cacheable(text: str, request: func.HttpRequest) -> func.HttpResponse:
    """Answer with a text in JSON and its ETag, or 304 to a caller who has it."""
    return _kept(text, request, "application/json", {"Cache-Control": CACHE_CONTROL})


def web_page(html: str, request: func.HttpRequest, policy: str) -> func.HttpResponse:
    """Answer with a page, its Content-Security-Policy and its ETag, or 304 to a browser that has it."""
    headers = {"Cache-Control": ASK_AGAIN, "Content-Security-Policy": policy, **PAGE_HEADERS}
    return _kept(html, request, "text/html", headers)


def _kept(text: str, request: func.HttpRequest, mimetype: str, headers: Mapping[str, str]) -> func.HttpResponse:
    # Weak: the answer may be compressed, and a strong one would have to differ then (RFC 9110, 8.8.3).
    etag = f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    known = {**headers, "ETag": etag, "Vary": "Accept-Encoding"}
    if _has(request, etag):
        return func.HttpResponse(status_code=HTTPStatus.NOT_MODIFIED, headers=known)
    return func.HttpResponse(text, mimetype=mimetype, charset="utf-8", headers=known)


def _has(request: func.HttpRequest, etag: str) -> bool:
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return etag.removeprefix("W/") in known or "*" in known

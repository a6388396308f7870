"""HTTP responses with caching, ETags, compression and the ids of their requests.

Sources: RFC 9111 (caches), RFC 9110, 13.1.2 (`If-None-Match`) and 12.5.3 (`Accept-Encoding`), and Azure's REST
guidelines: an answer has `x-ms-request-id`, and returns the `x-ms-client-request-id` of its request.
"""

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import azure.functions as func

from bridge.api.responses import Response

#: The size from which compression saves time. Shorter bodies fit into one packet with their headers.
MIN_BYTES = 1_024

#: The directive of answers with a secret (RFC 9111, 5.2.2.6). The length of a compressed answer could reveal the secret
#: to a client that controls the rest of the answer (the BREACH attack, CVE-2013-3587).
UNCOMPRESSED = "no-transform"

#: The gzip level. Level 6 makes the description of the API 10% smaller than level 4, but takes 1.8 times as long.
_LEVEL = 4

_WEIGHT = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


def compressed(response: func.HttpResponse, request: func.HttpRequest) -> func.HttpResponse:
    """Return the answer compressed with gzip if the client accepts gzip and saves time, else unchanged."""
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
    """Return whether an `Accept-Encoding` allows gzip and prefers it at least as much as no coding."""
    weights: dict[str, float] = {}
    for each in header.lower().split(","):
        coding, _, parameter = (part.strip() for part in each.partition(";"))
        weight = _WEIGHT.fullmatch(parameter)
        weights[coding] = 1.0 if not parameter else float(weight[1]) if weight else 0.0
    gzip_weight = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip_weight > 0 and gzip_weight >= weights.get("identity", 0.0)


#: Caches may keep the answer for an hour: a key is published long before it is the only one that signs.
CACHE_CONTROL = "public, max-age=3600"

#: Caches must revalidate the answer, so that an upgrade is visible at once.
ASK_AGAIN = "no-cache"

#: Further headers of a page: no content sniffing, no referrer, and isolation from other pages.
PAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def uncached(
    body: Response, *, status: HTTPStatus = HTTPStatus.OK, location: str | None = None, is_secret: bool = False
) -> func.HttpResponse:
    """Answer with a body that caches must not keep and, for a secret, that must not be compressed."""
    control = f"no-store, {UNCOMPRESSED}" if is_secret else "no-store"
    headers = {"Cache-Control": control} | ({} if location is None else {"Location": location})
    return func.HttpResponse(body.text(), status_code=status, mimetype="application/json", headers=headers)


def cacheable(text: str, request: func.HttpRequest) -> func.HttpResponse:
    """Answer with a text in JSON and its ETag, or with 304 for a matching `If-None-Match`."""
    return _kept(text, request, "application/json", {"Cache-Control": CACHE_CONTROL})


def web_page(html: str, request: func.HttpRequest, policy: str) -> func.HttpResponse:
    """Answer with a page, its Content-Security-Policy and its ETag, or with 304 for a matching `If-None-Match`."""
    headers = {"Cache-Control": ASK_AGAIN, "Content-Security-Policy": policy, **PAGE_HEADERS}
    return _kept(html, request, "text/html", headers)


def _kept(text: str, request: func.HttpRequest, mimetype: str, headers: Mapping[str, str]) -> func.HttpResponse:
    # A weak ETag, since the answer may be compressed, and a strong one would then have to differ (RFC 9110, 8.8.3).
    etag = f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    known = {**headers, "ETag": etag, "Vary": "Accept-Encoding"}
    if _has(request, etag):
        return func.HttpResponse(status_code=HTTPStatus.NOT_MODIFIED, headers=known)
    return func.HttpResponse(text, mimetype=mimetype, charset="utf-8", headers=known)


def _has(request: func.HttpRequest, etag: str) -> bool:
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return etag.removeprefix("W/") in known or "*" in known


#: The header with the bridge's id of a request.
REQUEST_ID = "x-ms-request-id"

#: The header with the client's id of a request.
CLIENT_REQUEST_ID = "x-ms-client-request-id"

#: The form of a client's id: visible ASCII characters. So an id cannot add a header, a line or a column.
CLIENT_ID = re.compile(r"[!-~]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RequestIds:
    """The ids of one request."""

    own: str
    #: The client's id, or None if it sent none or an invalid one.
    of_client: str | None

    @classmethod
    def of(cls, request: func.HttpRequest, own: str) -> "RequestIds":
        """Read the client's id. An invalid id counts as missing, since it never makes a request fail."""
        given = request.headers.get(CLIENT_REQUEST_ID, "")
        return cls(own, given if CLIENT_ID.fullmatch(given) else None)

    @property
    def fields(self) -> dict[str, str]:
        """The fields of log lines."""
        return {"request_id": self.own} | ({} if self.of_client is None else {"client_request_id": self.of_client})

    def mark(self, response: func.HttpResponse) -> func.HttpResponse:
        """Add the headers to an answer, and return it."""
        response.headers[REQUEST_ID] = self.own
        if self.of_client is not None:
            response.headers[CLIENT_REQUEST_ID] = self.of_client
        return response

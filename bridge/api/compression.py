"""Compresses answers with gzip if the client accepts that and the answer gets shorter by it (RFC 9110, 12.5.3)."""

import gzip
import re

import azure.functions as func

#: A shorter body fits into one packet with its headers, so that compression saves no time.
MIN_BYTES = 1_024

#: The directive of answers that hold a secret (RFC 9111, 5.2.2.6): the length of a compressed answer could give the
#: secret away to a client that chooses the rest of the answer (the BREACH attack, CVE-2013-3587).
UNCOMPRESSED = "no-transform"

#: Level 6 makes the description of the API 10% shorter than level 4, and takes 1.8 times as long.
_LEVEL = 4

_WEIGHT = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


def compressed(response: func.HttpResponse, request: func.HttpRequest) -> func.HttpResponse:
    """Return the answer compressed, or as it is."""
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

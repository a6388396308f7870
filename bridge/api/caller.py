"""Who calls, as far as it is known: for the log, never for a decision."""

import ipaddress

import azure.functions as func

#: Stands for a caller of whom nothing is known.
UNKNOWN = "unknown"


def caller_of(request: func.HttpRequest) -> str:
    """Name the address that the platform saw: the last one in `X-Forwarded-For`, which its front end adds.

    Anything before that is the caller's own word. A function key says nothing of who holds it.
    """
    last = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    host = last.partition("]")[0].removeprefix("[") if last.startswith("[") else last
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return UNKNOWN

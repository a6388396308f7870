"""Requests of clients, right and wrong, to every HTTP function in a sensible order."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request, and the function that should answer."""

    function: str
    method: str
    path: str
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def post(
    path: str, body: object, *, status: int, function: str = "register", headers: Mapping[str, str] = JSON
) -> Call:
    """Return a call with a body. Bytes are sent unchanged, other values as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Call(function=function, method="POST", path=path, status=status, body=content, headers=headers)


def get(function: str, path: str, *, status: int = 200) -> Call:
    """Return a call without a body."""
    return Call(function=function, method="GET", path=path, status=status)


def bad_bodies(callback: str) -> Iterator[Call]:
    """Yield calls with mistakes of clients."""
    for body, status in [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"\xff"', 400),
        (b"[" * 100_000, 413),
        ({}, 400),
        ({"operationId": "a", "callbackUrl": "http://10.0.0.1/", "colour": "blue", "metadata": 7}, 400),
        ({"operationId": "some-op", "operationLocation": "nonsense", "callbackUrl": callback}, 400),
    ]:
        yield post("registrations", body, status=status)
    yield post("registrations", {"operationId": "some-op"}, status=415, headers={})
    yield post("registrations", b"a=b", status=415, headers={"content-type": "application/x-www-form-urlencoded"})


def first_half(ok: str, canceled: str, callback: str) -> Iterator[Call]:
    """Yield calls before any delivery: register, read, cancel, and mistakes."""
    body = {"operationId": "worker-ok", "callbackUrl": callback, "metadata": {"grüße": "🎬"}}
    yield get("health", "health")
    yield get("list_registrations", "registrations")
    yield post("registrations", body, status=201)
    yield post("Registrations/", body, status=200)
    yield post("registrations", {**body, "metadata": {}}, status=409)
    yield post("registrations", {**body, "headers": {"Authorization": "Bearer some-secret"}}, status=409)
    yield post("registrations", {**body, "operationId": "worker-canceled"}, status=201)
    yield from bad_bodies(callback)
    yield Call(function="cancel_registration", method="DELETE", path=f"registrations/{canceled}", status=204)
    yield Call(function="cancel_registration", method="DELETE", path="registrations/nonsense", status=404)
    yield get("read_registration", f"registrations/{canceled}")
    yield get("read_registration", f"registrations/{ok}?code=some-key")
    yield get("read_registration", "registrations/gr%C3%BC%C3%9Fe%20%2B", status=404)
    yield get("read_message", f"registrations/{ok}/message", status=409)
    yield post(f"registrations/{ok}/redeliver", b"", status=409, function="redeliver", headers={})
    yield get("list_registrations", "registrations?limit=1")
    yield get("list_registrations", "registrations?state=waiting&operationId=worker-ok")
    yield get("list_registrations", "registrations?limit=0&cursor=nonsense", status=400)
    yield post("callbacks/ping", {"callbackUrl": "nonsense"}, status=400, function="ping")
    yield post(
        "redeliver", {"states": ["dead"], "since": "2026-01-01T00:00:00Z"}, status=202, function="redeliver_many"
    )
    yield post("redeliver", {"states": ["alive"]}, status=400, function="redeliver_many")
    yield get("read_operation", "operations/worker-ok?source=default")
    yield get("read_operation", "operations/worker-ok?source=other", status=400)
    yield get("read_operation", "operations/unknown", status=404)
    yield get("read_job", "jobs/worker-ok", status=404)
    yield get("status", "status")
    yield get("signing_secret", f"signing-secret?callbackUrl={callback}")
    yield get("signing_secret", "signing-secret?callbackUrl=nonsense&origin=x", status=400)
    yield get("describe", "openapi.json")
    yield get("dashboard", "dashboard")
    yield Call(function="dashboard", method="GET", path="dashboard", status=304, headers={"If-None-Match": "*"})
    yield get("signing_keys", "signing-keys")
    yield Call(
        function="signing_keys", method="GET", path="signing-keys", status=304, headers={"If-None-Match": 'W/"a", *'}
    )


def second_half(ok: str, callback: str) -> Iterator[Call]:
    """Yield calls after the delivery: read and redeliver."""
    yield get("read_registration", f"registrations/{ok}")
    yield get("read_message", f"registrations/{ok}/message")
    yield get("read_operation", "operations/worker-ok")
    yield get("list_registrations", "registrations?state=delivered")
    yield get("status", "status")
    yield get("overview", "overview")
    yield post("registrations", {"operationId": "worker-ok", "callbackUrl": f"{callback}/more"}, status=201)
    yield post("callbacks/ping", {"callbackUrl": callback}, status=200, function="ping")
    yield post(f"registrations/{ok}/redeliver", b"", status=202, function="redeliver", headers={})

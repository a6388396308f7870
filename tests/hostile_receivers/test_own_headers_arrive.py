"""Custom headers are rejected at registration, or arrive unchanged at a real socket."""

import contextlib
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import example, given
from hypothesis import strategies as st

from bridge.adapters.net.guard import Guard
from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.domain.callback_url import CallbackRules
from tests.hostile_receivers.receivers import Recorder, living
from tests.support.harness import FakeClock, harness
from tests.support.http import Client

OPENED = {
    "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
    "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
}
RULES = CallbackRules(allow_http=True, allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),), allowed_ports=None)

#: Headers that the bridge adds.
OWN = {
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
}

TOKENS = st.text(st.sampled_from("aAzZ09!#$%&'*+.^_`|~-"), min_size=1, max_size=20)
TAKEN = ["Authorization", "Cookie", "Date", "Range", "Via", "Origin", "Forwarded", "Set-Cookie"]
REFUSED = ["Host", "TE", "Connection", "Transfer-Encoding", "Content-Length", "webhook-id", "Expect", "Proxy-Auth"]
NAMES = st.one_of(TOKENS, st.sampled_from([*TAKEN, *REFUSED]), st.text(max_size=5))
VALUES = st.one_of(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40), st.text(max_size=5))


@contextmanager
def sending() -> Iterator[HttpWebhookSender]:
    """Yield a sender over real sockets."""
    sender = HttpWebhookSender(Guard(RULES), FakeClock())
    with contextlib.closing(sender):
        yield sender


def arrived(head: bytes) -> dict[str, str]:
    """Return the custom headers of a request head, in order."""
    lines = head.decode("ascii").split("\r\n")[1:]
    pairs = [(name, value.removeprefix(" ")) for name, _, value in (line.partition(":") for line in lines)]
    assert len({name.lower() for name, _ in pairs}) == len(pairs)
    assert {name.lower() for name, _ in pairs} >= OWN
    return {name: value for name, value in pairs if name.lower() not in OWN}


@given(st.dictionaries(NAMES, VALUES, max_size=12))
@example({"Authorization": "Bearer a.b-c", "Cookie": "a=b; c=d", "X-Empty": "", "x_y": "1  2"})
def test_headers_are_rejected_or_arrive_unchanged(headers: dict[str, str]) -> None:
    """Names and values keep every byte, and the bridge's headers are unaffected."""
    receiver = Recorder()
    with living(receiver) as port, sending() as sender:
        bridge = harness(sender=sender)
        bridge.restart(**OPENED)
        body = {"operationId": "operation-1", "callbackUrl": f"http://127.0.0.1:{port}/hook", "headers": headers}
        created = Client.of(bridge).register(body)
        if created.status == 400:
            assert created.targets
            assert all(target.partition(".")[0] == "headers" for target in created.targets)
            return

        bridge.upstream.script("operation-1", "Succeeded")
        bridge.sweep()
        bridge.deliver_all()

        assert list(arrived(receiver.heads.get(timeout=10)).items()) == list(headers.items())


def test_valid_headers_are_accepted() -> None:
    """Otherwise, the property above would also hold for a bridge that rejects everything."""
    receiver, headers = Recorder(), {"Authorization": "Bearer a.b-c", "Cookie": "a=b", "X-Empty": "", "x_y": "1  2"}
    with living(receiver) as port, sending() as sender:
        bridge = harness(sender=sender)
        bridge.restart(**OPENED)
        body = {"operationId": "operation-1", "callbackUrl": f"http://127.0.0.1:{port}/hook", "headers": headers}
        assert Client.of(bridge).register(body).status == 201
        bridge.upstream.script("operation-1", "Succeeded")
        bridge.sweep()
        bridge.deliver_all()

    assert arrived(receiver.heads.get(timeout=10)) == headers

"""The request line has exactly the path and query of the callback URL in the API, byte for byte."""

import contextlib
import ipaddress
import json
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bridge.adapters.net.guard import Guard
from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.api.handlers import Handlers
from bridge.domain.callback_url import CallbackRules
from tests.hostile_receivers.receivers import Recorder, living
from tests.support.harness import FakeClock, Harness, harness
from tests.support.http import Answer, Client

OPENED = {
    "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
    "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
}
RULES = CallbackRules(allow_http=True, allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),), allowed_ports=None)

PIECES = st.one_of(
    st.sampled_from([*"/?%&=+;:@[]{}|<>^`\"'~*(),!$._-#", "%2f", "%2F", "%zz", "%", "..", "//", "??", "%E2%82%AC"]),
    st.sampled_from(["\u00fc", "\u20ac", "\U0001f469\u200d\U0001f4bb", "\U0001fae9", "\u200b", "\ufeff", "\u00ad"]),
    st.text(max_size=5),
)
TAILS = st.lists(PIECES, max_size=12).map("".join)
EXAMPLES = [
    "/stray?discount=50%&sig=ab%2Bcd%3D",
    "/a%2fb",
    "/?",
    "?",
    "",
    "/a?b?c",
    "//double//slash",
    "/a/../b/./c",
    "/[a]?[b]",
    "/%",
    "/{a}|b^c`d",
    "/a;b=c?d;e",
    "/\u00fc?\u00e4=\u00f6",
]


@pytest.fixture(scope="module")
def receiver() -> Iterator[tuple[Recorder, int]]:
    """Record request lines. Yields the recorder and the port."""
    recorder = Recorder()
    with living(recorder) as port:
        yield recorder, port


@contextlib.contextmanager
def sending() -> Iterator[Harness]:
    """Yield a bridge with a real sender."""
    with contextlib.closing(HttpWebhookSender(Guard(RULES), FakeClock())) as sender:
        bridge = harness(sender=sender)
        bridge.restart(**OPENED)
        yield bridge


def ping(bridge: Harness, url: str) -> Answer:
    """Ping a URL."""
    body, headers = json.dumps({"callbackUrl": url}).encode(), {"Content-Type": "application/json"}
    return Client.of(bridge).call(Handlers.ping, "/callbacks/ping", method="POST", body=body, headers=headers)


def shown_target(url: str) -> str:
    """Return the part of a URL after scheme and authority, unchanged."""
    parts = urlsplit(url)
    return url.removeprefix(f"{parts.scheme}://{parts.netloc}")


def request_line(recorder: Recorder) -> str:
    """Return the next request line."""
    return recorder.heads.get(timeout=10).split(b"\r\n")[0].decode("ascii")


@pytest.mark.parametrize("tail", EXAMPLES)
def test_the_known_urls_are_accepted(tail: str, receiver: tuple[Recorder, int]) -> None:
    """Otherwise, the properties below would also hold for a bridge that rejects everything."""
    with sending() as bridge:
        body = {"operationId": "operation-1", "callbackUrl": f"http://127.0.0.1:{receiver[1]}{tail}"}

        assert Client.of(bridge).register(body).status == 201


def for_every_tail(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test with each known tail of a URL, and with random ones."""
    test = given(tail=TAILS)(test)
    for each in EXAMPLES:
        test = example(tail=each)(test)
    return settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)(test)


@for_every_tail
def test_a_callback_requests_the_url_of_the_api(receiver: tuple[Recorder, int], tail: str) -> None:
    """Holds for every URL that can be registered."""
    recorder, port = receiver
    with sending() as bridge:
        registered = Client.of(bridge).register(
            {"operationId": "operation-1", "callbackUrl": f"http://127.0.0.1:{port}{tail}"}
        )
        if registered.status == 400:
            return

        bridge.upstream.script("operation-1", "Succeeded")
        bridge.sweep()
        bridge.deliver_all()

        assert request_line(recorder) == f"POST {shown_target(registered.body['callbackUrl'])} HTTP/1.1"


@for_every_tail
def test_a_ping_requests_the_url_of_a_registration(receiver: tuple[Recorder, int], tail: str) -> None:
    """The same URL gives the same request line."""
    recorder, port = receiver
    url = f"http://127.0.0.1:{port}{tail}"
    with sending() as bridge:
        registered = Client.of(bridge).register({"operationId": "operation-1", "callbackUrl": url})

        pinged = ping(bridge, url)

        assert (registered.status == 400) == (pinged.status == 400)
        if pinged.status == 400:
            return
        assert request_line(recorder) == f"POST {shown_target(registered.body['callbackUrl'])} HTTP/1.1"


def test_a_lone_question_mark_makes_another_registration(receiver: tuple[Recorder, int]) -> None:
    """Both URLs are sent unchanged, so they differ."""
    with sending() as bridge:
        client = Client.of(bridge)
        urls = [f"http://127.0.0.1:{receiver[1]}/a{tail}" for tail in ("", "?")]

        ids = {client.register({"operationId": "operation-1", "callbackUrl": url}).body["id"] for url in urls}

        assert len(ids) == 2

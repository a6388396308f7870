"""`listen` forwards a copy of each message to a local receiver, once, and only reads from the bridge."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from standardwebhooks import Webhook

from bridge.cli.commands.listen import LONGEST_WAIT, OVERLAP, SHORTEST_WAIT
from bridge.dependencies import real_clock as now
from bridge.domain.time import iso
from local.answer import Answer
from local.receiver import Receiver
from tests.support.cli import Said, type_in
from tests.support.fake_bridge import FakeBridge, problem, registration
from tests.support.harness import NOON

SECRET = "whsec_c2VjcmV0"
DATE = {"Date": format_datetime(NOON, usegmt=True)}
BODY = '{"type":"avatar.operation.succeeded","data":{"title":"grüße","audience":"https://hooks.example.com"}}'
SLOW = (503, problem("StorageUnavailable", "Storage does not answer."))


def entry(number: int, state: str = "pending", seconds: int = 1) -> dict[str, Any]:
    """Return an entry of a list, in its state since some seconds after noon."""
    return registration(
        f"default~operation-{number}~0123456789abcdef",
        state=state,
        since=iso(NOON + timedelta(seconds=seconds)),
        message={"id": f"msg_{number}", "type": "avatar.operation.succeeded"},
    )


def message(number: int) -> dict[str, Any]:
    """Return a message, signed now."""
    signed = {
        "webhook-id": f"msg_{number}",
        "webhook-timestamp": str(int(now().timestamp())),
        "webhook-signature": Webhook(SECRET).sign(f"msg_{number}", now(), BODY),
    }
    return {"headers": {**signed, "content-type": "application/json; charset=utf-8"}, "body": BODY}


def page(*entries: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return a page of a list, newest first."""
    return 200, {"value": list(entries), "nextLink": None}


@dataclass
class Rounds:
    """Counts the waits, and presses Ctrl-C at the last one."""

    count: int
    before: Callable[[int], None] = lambda _: None
    waits: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        """Note a wait."""
        self.waits.append(seconds)
        self.before(len(self.waits))
        if len(self.waits) == self.count:
            raise KeyboardInterrupt


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Start a local receiver."""
    with Receiver.start() as running:
        yield running


def script(fake: FakeBridge, *lists: tuple[int, Any], numbers: int = 3) -> None:
    """Script the lists of a bridge whose clock stands at noon, and its messages."""
    fake.script("GET health", (200, {"status": "ok"}, DATE))
    fake.script("GET registrations", *lists)
    for number in range(1, numbers + 1):
        fake.script(f"GET registrations/default~operation-{number}~0123456789abcdef/message", (200, message(number)))


def listen(fake: FakeBridge, url: str, rounds: Rounds, *more: str) -> Said:
    """Run the command until the last round. The clock of this machine is wrong by a day."""
    return type_in(
        "listen", "--forward", url, *more,
        environment=fake.environment, sleep=rounds.wait, clock=lambda: NOON + timedelta(days=1),
    )  # fmt: skip


def test_a_copy_has_the_exact_bytes_and_signature_and_the_bridge_is_only_read(
    fake: FakeBridge, receiver: Receiver
) -> None:
    script(fake, page(), page(entry(1)))

    output = listen(fake, f"{receiver.url}/hook?code=canary", Rounds(3))

    [copy] = receiver.callbacks
    assert (copy.method, copy.path, copy.body) == ("POST", "/hook?code=canary", BODY.encode())
    assert copy.headers["content-type"] == "application/json; charset=utf-8"
    assert Webhook(SECRET).verify(copy.body, copy.headers) == json.loads(BODY)
    assert output.exit == 130
    assert output.out == "msg_1  avatar.operation.succeeded  default~operation-1~0123456789abcdef  HTTP 204\n"
    assert output.err == f"forwarding to {receiver.url}/hook?…; Ctrl-C ends\n"
    assert {call.method for call in fake.calls} == {"GET"}


def test_each_message_is_forwarded_once_oldest_first_also_when_it_is_delivered_again(
    fake: FakeBridge, receiver: Receiver
) -> None:
    script(
        fake,
        page(entry(2, seconds=2), entry(1)),
        page(entry(1, "delivered", 4), entry(2, "delivered", 3)),
        page(entry(1, "pending", 9), entry(3, "dead", 8)),
    )

    listen(fake, receiver.url, Rounds(5))

    assert [each.headers["webhook-id"] for each in receiver.callbacks] == ["msg_1", "msg_2", "msg_3"]
    assert len([call for call in fake.calls if call.path.endswith("/message")]) == 3


def test_registrations_that_came_to_their_state_before_the_start_are_left_out(
    fake: FakeBridge, receiver: Receiver
) -> None:
    """The first list begins before the start by the bridge's clock. A late row of that time is new nevertheless."""
    script(fake, page(entry(1, seconds=-5)), page(entry(2, seconds=-3), entry(1, seconds=-5)))

    listen(fake, receiver.url, Rounds(2))

    assert [each.headers["webhook-id"] for each in receiver.callbacks] == ["msg_2"]


def test_one_that_was_pending_before_the_start_is_forwarded_when_it_ends(fake: FakeBridge, receiver: Receiver) -> None:
    script(fake, page(entry(1, seconds=-5)), page(entry(1, "delivered", 5)))

    listen(fake, receiver.url, Rounds(3))

    assert [each.headers["webhook-id"] for each in receiver.callbacks] == ["msg_1"]


def test_since_begins_earlier(fake: FakeBridge, receiver: Receiver) -> None:
    script(fake, page(entry(2, seconds=-500), entry(1, seconds=-700)))

    listen(fake, receiver.url, Rounds(1), "--since", "10m")

    assert [each.headers["webhook-id"] for each in receiver.callbacks] == ["msg_2"]


def test_lists_ask_for_three_states_and_go_on_from_the_newest_entry(fake: FakeBridge, receiver: Receiver) -> None:
    script(fake, page(), page(entry(2, seconds=600), entry(1, seconds=300)), page())

    listen(fake, receiver.url, Rounds(4), "--host", "hooks.example.com", "--group", "vp9")

    asked = [parse_qs(urlsplit(call.path).query) for call in fake.calls if call.path.startswith("registrations?")]
    floor, later = iso(NOON - OVERLAP), iso(NOON + timedelta(seconds=600) - OVERLAP)
    assert [each["since"] for each in asked] == [[floor], [floor], [later], [later]]
    assert {(*each["state"], *each["host"], *each["group"]) for each in asked} == {
        ("pending,delivered,dead", "hooks.example.com", "vp9")
    }


def test_waits_grow_while_nothing_comes_and_shrink_with_a_message(fake: FakeBridge, receiver: Receiver) -> None:
    script(fake, *[page()] * 5, page(entry(1)), page(entry(1)))
    rounds = Rounds(8)

    listen(fake, receiver.url, rounds)

    assert rounds.waits == [4.0, 8.0, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT, SHORTEST_WAIT, 4.0, 8.0]


def test_every_page_of_a_list_is_read(fake: FakeBridge, receiver: Receiver) -> None:
    link = "http://inside.example:8080/api/registrations?state=pending%2Cdelivered%2Cdead&limit=100&cursor=c1"
    script(fake, (200, {"value": [entry(2, seconds=2)], "nextLink": link}), page(entry(1)))

    listen(fake, receiver.url, Rounds(1))

    assert [each.headers["webhook-id"] for each in receiver.callbacks] == ["msg_1", "msg_2"]


def test_errors_of_the_receiver_are_shown_and_end_nothing(fake: FakeBridge, receiver: Receiver) -> None:
    receiver.answer("/hook", 500, Answer(status=302, headers={"Location": "https://example.com/"}))
    script(fake, page(entry(1)), page(entry(2, seconds=2)), page(entry(3, seconds=3)))

    output = listen(fake, f"{receiver.url}/hook", Rounds(3))

    assert [line.split("  ")[-1] for line in output.out.splitlines()] == ["HTTP 500", "HTTP 302", "HTTP 204"]


def test_a_receiver_that_does_not_run_is_shown_and_gets_the_next_message(fake: FakeBridge, receiver: Receiver) -> None:
    script(fake, page(entry(1)), page(entry(2, seconds=2)))
    closed = Receiver.start()
    closed.stop()
    port = closed.port
    started: list[Receiver] = []

    def start_it(_count: int) -> None:
        if not started:
            started.append(Receiver.start(port=port))

    output = listen(fake, f"http://127.0.0.1:{port}/hook", Rounds(2, start_it))

    started[0].stop()
    assert [line.split("  ")[-1] for line in output.out.splitlines()] == [
        "no answer (ConnectionError): check that the receiver runs",
        "HTTP 204",
    ]


def test_errors_of_the_bridge_are_shown_once_and_lose_no_message(fake: FakeBridge, receiver: Receiver) -> None:
    """Neither of a list nor of a message."""
    script(fake, page(), SLOW, (502, "<html>"), page(entry(1)), page(entry(2, seconds=2), entry(1)))
    path = "GET registrations/default~operation-1~0123456789abcdef/message"
    fake.script(path, SLOW, (200, message(1)))
    rounds = Rounds(6)

    output = listen(fake, receiver.url, rounds)

    assert output.exit == 130
    assert [each.headers["webhook-id"] for each in receiver.callbacks] == ["msg_1", "msg_2"]
    assert output.err.count("the bridge cannot be read for now, and is tried again: ") == 1
    assert rounds.waits[:4] == [4.0, 8.0, LONGEST_WAIT, LONGEST_WAIT]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, ""), "HTTP 401: set BRIDGE_KEY"),
        (SLOW, "StorageUnavailable: Storage does not answer."),
    ],
)
def test_a_bridge_that_cannot_be_read_at_the_start_ends_the_command(
    fake: FakeBridge, receiver: Receiver, answer: tuple[int, Any], words: str
) -> None:
    script(fake, answer)

    output = listen(fake, receiver.url, Rounds(1))

    assert output.exit == 3
    assert words in output.err


def test_a_key_that_is_withdrawn_later_ends_the_command(fake: FakeBridge, receiver: Receiver) -> None:
    script(fake, page(), (401, ""))

    output = listen(fake, receiver.url, Rounds(9))

    assert output.exit == 3


@pytest.mark.parametrize("status", [403, 404, 409])
def test_a_message_that_cannot_be_read_is_named_once_and_passed_over(
    fake: FakeBridge, receiver: Receiver, status: int
) -> None:
    script(fake, page(entry(2, seconds=2), entry(1)))
    path = "GET registrations/default~operation-1~0123456789abcdef/message"
    fake.script(path, (status, problem("NoMessageYet", "There is no message.")))

    output = listen(fake, receiver.url, Rounds(3))

    assert [each.headers["webhook-id"] for each in receiver.callbacks] == ["msg_2"]
    assert output.err.count("default~operation-1~0123456789abcdef is not forwarded: NoMessageYet") == 1


def test_a_message_of_another_owner_is_not_forwarded_without_its_signature(
    fake: FakeBridge, receiver: Receiver
) -> None:
    """An admin sees all registrations, and gets signatures for the own ones only."""
    script(fake, page(entry(2, seconds=2), entry(1)))
    unsigned = {"headers": {"webhook-id": "msg_1", "content-type": "application/json"}, "body": BODY}
    fake.script("GET registrations/default~operation-1~0123456789abcdef/message", (200, unsigned))

    output = listen(fake, receiver.url, Rounds(3))

    assert [each.headers["webhook-id"] for each in receiver.callbacks] == ["msg_2"]
    assert output.err.count("default~operation-1~0123456789abcdef is not forwarded: another client registered it") == 1


def test_json_output_has_one_line_per_copy(fake: FakeBridge, receiver: Receiver) -> None:
    script(fake, page(entry(2, seconds=2), entry(1)))

    output = listen(fake, receiver.url, Rounds(2), "--json")

    assert [json.loads(line) for line in output.out.splitlines()] == [
        {
            "registration": f"default~operation-{number}~0123456789abcdef",
            "message": {"id": f"msg_{number}", "type": "avatar.operation.succeeded"},
            "status": 204,
            "error": None,
        }
        for number in (1, 2)
    ]


def test_the_receiver_gets_nothing_but_the_message(
    fake: FakeBridge, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither the key of the bridge, nor a credential of `.netrc`, nor a cookie of an earlier answer."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    receiver.answer("/hook", then=Answer(status=200, headers={"Set-Cookie": "session=canary"}))
    script(fake, page(entry(2, seconds=2), entry(1)))

    type_in(
        "listen", "--forward", f"{receiver.url}/hook",
        environment={**fake.environment, "BRIDGE_KEY": "canary"}, sleep=Rounds(2).wait, clock=lambda: NOON,
    )  # fmt: skip

    assert len(receiver.callbacks) == 2
    for copy in receiver.callbacks:
        assert "canary" not in str(copy.headers)
        assert set(copy.headers) <= {
            "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent", "webhook-id",
            "webhook-signature", "webhook-timestamp",
        }  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://localhost/",
        "http://",
        "http://localhost:99999/",
        "http://localhost:port/",
        "http://[::1/",
        f"http://{'a' * 64}.example/",
        "http://user:canary@localhost/",
        "",
    ],
)
def test_an_invalid_url_is_reported_before_any_request(fake: FakeBridge, url: str) -> None:
    output = type_in("listen", "--forward", url, environment=fake.environment)

    assert (output.exit, fake.calls) == (2, [])
    assert "--forward" in output.err
    assert "canary" not in output.err

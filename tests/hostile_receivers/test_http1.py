"""Answers in the style of real servers, over real sockets: results, parsing, and reuse of connections."""

import socket
import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from bridge.adapters.net.deadline import AttemptDeadline
from bridge.adapters.net.guard import Guard, Limits
from bridge.adapters.net.http1 import (
    MAX_HEAD_BYTES,
    BrokenOff,
    EndedUnanswered,
    HeadTooLarge,
    HttpError,
    Wire,
    read_answer,
    write_request,
)
from bridge.adapters.net.transport import MAX_BYTES
from bridge.adapters.speech import SpeechService
from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.domain.ids import OperationRef
from bridge.domain.outcome import Delivered, Failure, Outcome, Rejected, Unreachable
from bridge.domain.upstream import NoReply, Reply
from tests.hostile_receivers.receivers import OK, Habit, drips, floods, living, read_request, replies, replies_and_stays
from tests.hostile_receivers.test_hostile_receivers import RULES
from tests.support import factories
from tests.support.harness import FakeClock

#: A wait for the attempt's deadline would fail the test. Tests may wait for the body's deadline.
LIMITS = Limits(attempt=60, lookup=5, connect=5, body=0.2)
OPERATION = OperationRef("default", "operation-1")

#: Malformed header lines, each seen from a real server.
ODD_LINES = [
    b"X-FRAME-OPTIONS : SAMEORIGIN",
    b"nonsense",
    b"<br />",
    b"<b>Warning</b>: Cannot modify header information in <b>/srv/hook.php</b> on line <b>3</b>",
    b"PHP Warning:  Undefined variable $x in /srv/hook.php on line 3",
    b": no name",
    b" : folded after nothing",
    b"  folded after nothing",
    b"N\xc3\xa4me: value",
    b"X-Value: caf\xc3\xa9 \xff",
    b"X-Nul: a\x00b",
    b"X-Return: a\rContent-Length: 9999",
    b"HTTP/1.1 200 OK",
    b"X Y: z",
    b"\tX: y",
    b"X-Tab\t: y",
    b"=?utf-8?q?x?=",
    b"Content-Length",
]


@pytest.fixture
def sender() -> Iterator[HttpWebhookSender]:
    """Yield a sender with a short deadline for bodies, and a deadline for attempts that no test reaches."""
    sender = HttpWebhookSender(Guard(RULES, LIMITS), FakeClock())
    yield sender
    sender.close()


class Fed:
    """A connection with some received bytes, then more bytes or the end. Counts the reads."""

    def __init__(self, first: bytes, more: Callable[[], bytes] = bytes) -> None:
        self._left = first
        self._more = more
        self.taken = 0

    def recv(self, most: int) -> bytes:
        """Receive at most `most` bytes."""
        if not self._left:
            self._left = self._more()
        part, self._left = self._left[:most], self._left[most:]
        self.taken += len(part)
        return part


def wire(fed: Fed, budget: int = MAX_BYTES) -> Wire:
    """Return a reader of the given bytes."""
    return Wire(fed, budget)  # type: ignore[arg-type]


def post(sender: HttpWebhookSender, habit: Habit) -> Outcome:
    """Make one attempt at a receiver."""
    with living(habit) as port:
        return sender.post(f"http://127.0.0.1:{port}/hook", {}, b"{}")


def one_after_another(*answers: bytes) -> tuple[Habit, list[int]]:
    """Answer each request of a connection with the next answer, then close. Returns a counter of connections too."""
    accepted: list[int] = []

    def habit(connection: socket.socket, _: threading.Event) -> None:
        accepted.append(1)
        for answer in answers:
            if not read_request(connection):
                return
            connection.sendall(answer)

    return habit, accepted


@pytest.mark.parametrize("odd", ODD_LINES)
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r\r\n"])
def test_a_malformed_line_hides_no_other_header(sender: HttpWebhookSender, odd: bytes, end: bytes) -> None:
    """The connection stays open, so the sender must find the length after the malformed line."""
    head = end.join([b"HTTP/1.1 503 Busy", odd, b"Retry-After: 38", b"Content-Length: 2", b"", b""])

    outcome = post(sender, replies_and_stays(head + b"ok"))

    assert isinstance(outcome, Rejected)
    assert outcome.retry_after is not None
    assert (outcome.retry_after.total_seconds(), outcome.body) == (38, "ok")


def test_a_poll_answer_with_a_malformed_line_is_parsed() -> None:
    """Polls and callbacks use the same parser."""
    body = b'{"id": "operation-1", "status": "Running"}'
    head = OK + b"X-Odd : y\r\n<warning>\r\nRetry-After: 7\r\nContent-Length: %d\r\n\r\n" % len(body)
    with living(replies_and_stays(head + body)) as port:
        source = factories.source(f"http://127.0.0.1:{port}")
        service = SpeechService([source], {"default": dict}, LIMITS)

        reply = service.fetch_operation(OPERATION)

        service.close()
    assert reply == Reply(status=200, body=body, retry_after="7")


def test_a_header_with_a_space_before_its_colon_is_read() -> None:
    """Browsers and curl do the same."""
    answer = read_answer(wire(Fed(OK + b"Retry-After : 5\r\nX: a\r\n b\r\nx: c\r\n\r\n")))

    assert answer.get("retry-after") == "5"
    assert answer.fields["x"] == ["a b", "c"]


@pytest.mark.parametrize(
    "habit",
    [
        replies_and_stays(OK + b"Content-Length: 5\r\n\r\n"),
        replies_and_stays(OK + b"Content-Length: 5\r\n\r\nab"),
        replies_and_stays(OK + b"\r\n"),
        replies_and_stays(OK + b"Transfer-Encoding: chunked\r\n\r\n"),
        replies_and_stays(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"),
        replies_and_stays(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"),
        drips(OK + b"Content-Length: 100000\r\n\r\n", b"a"),
        drips(OK + b"\r\n", b"a"),
        drips(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        drips(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: y\r\n"),
        replies_and_stays(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
        replies_and_stays(OK + b"Content-Length: 2, 3\r\n\r\nok"),
        replies_and_stays(OK + b"Content-Length: -1\r\n\r\nok"),
        replies_and_stays(OK + b"Content-Length: many\r\n\r\nok"),
        replies_and_stays(OK + b"Content-Length: 99999999999999999999\r\n\r\nok"),
        replies_and_stays(OK + b"Transfer-Encoding: gzip\r\n\r\nok"),
        replies(OK + b"Content-Length: 5\r\n\r\nab"),
        replies(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        floods(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: y\r\n" * 1000),
        floods(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 60_000 + b"\r\na\r\n"),
        floods(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 60_000),
        floods(OK + b"\r\n", b"a" * 65_536),
        replies_and_stays(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
    ],
)
def test_a_complete_head_with_2xx_is_a_delivery(sender: HttpWebhookSender, habit: Habit) -> None:
    """The body is irrelevant, and the attempt ends long before the deadline."""
    with AttemptDeadline(50) as in_time:
        outcome = post(sender, habit)

    assert isinstance(outcome, Delivered)
    assert not in_time.cut


def test_a_complete_head_with_another_status_counts_too(sender: HttpWebhookSender) -> None:
    """The record has the part of the body that arrived in time."""
    outcome = post(sender, replies_and_stays(b"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\nhalf"))

    assert isinstance(outcome, Rejected)
    assert (outcome.status, outcome.body) == (500, "half")


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", b"HTTP/1.1 200"])
def test_a_head_that_does_not_end_is_a_timeout(head: bytes) -> None:
    """If the connection closes, the result is `closed`. No status counts before the empty line."""
    sender = HttpWebhookSender(Guard(RULES, Limits(attempt=0.3)), FakeClock())

    assert post(sender, replies_and_stays(head)) == Unreachable(error=Failure.TIMEOUT, address="127.0.0.1")
    assert post(sender, replies(head)) == Unreachable(error=Failure.CLOSED, address="127.0.0.1")


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: y\r\n" * 1000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 12_000 + b"\r\na\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 60_000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (OK + b"\r\n", b"a" * 65_536),
        (OK + b"Content-Length: 999999999\r\n\r\n", b"a" * 65_536),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"a" * 65_536),
    ],
)
def test_all_received_bytes_count_against_one_budget(first: bytes, more: bytes) -> None:
    """The budget covers bodies, chunk extensions and bytes after the last chunk."""
    fed = Fed(first, lambda: more)

    answer = read_answer(wire(fed))
    answer.read(10**9, lenient=True)

    assert answer.status == 200
    assert fed.taken <= MAX_BYTES
    assert not answer.is_reusable


def test_trailers_are_not_read() -> None:
    """Reading ends with the last chunk."""
    fed = Fed(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", lambda: b"X-Trailer: y\r\n")

    answer = read_answer(wire(fed))
    before = fed.taken

    assert answer.read(100) == b"a"
    assert fed.taken == before


@pytest.mark.parametrize("line", [b"X: y\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"y"])
def test_a_head_without_end_is_read_up_to_its_limit(line: bytes) -> None:
    """Interim answers and the lines of one head share the limit."""
    fed = Fed(b"" if line.startswith(b"HTTP") else OK + b"X: ", lambda: line * 100)

    with pytest.raises(HeadTooLarge):
        read_answer(wire(fed))

    assert fed.taken <= MAX_HEAD_BYTES + 8_192


def ends_the_first_connection(
    end: Callable[[socket.socket], object],
) -> Callable[[socket.socket, threading.Event], None]:
    """Answer one request per connection, and end the first connection while the next request arrives."""
    first = threading.Event()

    def habit(connection: socket.socket, _: threading.Event) -> None:
        read_request(connection)
        connection.sendall(OK + b"Content-Length: 2\r\n\r\nok")
        if not first.is_set():
            first.set()
            end(connection)

    return habit


def test_a_kept_connection_that_ends_is_replaced_within_the_attempt(sender: HttpWebhookSender) -> None:
    """The receiver closes the connection at the moment of reuse."""
    with living(ends_the_first_connection(read_request)) as port:  # the next request is read, but not answered
        outcomes = [sender.post(f"http://127.0.0.1:{port}/", {}, b"{}") for _ in range(2)]

    assert [type(each) for each in outcomes] == [Delivered, Delivered]
    assert [each.address for each in outcomes] == ["127.0.0.1"] * 2


def test_a_kept_connection_that_is_reset_is_replaced_within_the_attempt(sender: HttpWebhookSender) -> None:
    """A reset counts as an end before the first byte."""

    def resets(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with living(ends_the_first_connection(resets)) as port:
        outcomes = [sender.post(f"http://127.0.0.1:{port}/", {}, b"{}") for _ in range(2)]

    assert [type(each) for each in outcomes] == [Delivered, Delivered]


def test_a_connection_is_replaced_once(sender: HttpWebhookSender) -> None:
    """A new connection without an answer fails the attempt, so there are two connections and no third."""
    accepted = count()

    def answers_the_first_alone(connection: socket.socket, _: threading.Event) -> None:
        number = next(accepted)
        read_request(connection)
        if number == 0:
            connection.sendall(OK + b"Content-Length: 2\r\n\r\nok")
            read_request(connection)

    with living(answers_the_first_alone) as port:
        outcomes = [sender.post(f"http://127.0.0.1:{port}/", {}, b"{}") for _ in range(2)]

    assert isinstance(outcomes[0], Delivered)
    assert outcomes[1] == Unreachable(error=Failure.CLOSED, address="127.0.0.1")
    assert next(accepted) == 2


def test_a_poll_is_sent_once_even_if_its_kept_connection_ends() -> None:
    """Speech may have counted the first request, and the budget permits one."""
    polls: list[bytes] = []

    def ends_at_the_second(connection: socket.socket, _: threading.Event) -> None:
        polls.append(read_request(connection))
        connection.sendall(OK + b"Content-Length: 22\r\n\r\n" + b'{"status": "Running" }')
        polls.append(read_request(connection))

    with living(ends_at_the_second) as port:
        source = factories.source(f"http://127.0.0.1:{port}")
        speech = SpeechService([source], {"default": dict}, LIMITS)
        replies = [speech.fetch_operation(OperationRef("default", "operation-1")) for _ in range(2)]

    assert [type(each) for each in replies] == [Reply, NoReply]
    assert len(polls) == 2


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\n", b"\r"])
def test_a_kept_connection_that_ends_within_an_answer_is_not_replaced(sender: HttpWebhookSender, begun: bytes) -> None:
    """The receiver got the request, so a repetition in the same attempt would be a second delivery."""
    habit, accepted = one_after_another(OK + b"Content-Length: 2\r\n\r\nok", begun)
    with living(habit) as port:
        outcomes = [sender.post(f"http://127.0.0.1:{port}/", {}, b"{}") for _ in range(2)]

    assert isinstance(outcomes[1], Unreachable)
    assert len(accepted) == 1


@pytest.mark.parametrize(
    ("answer", "is_kept"),
    [
        (OK + b"Content-Length: 2\r\n\r\nok", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n2;a=b\r\nok\r\n000\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 103 Hints\r\nLink: <a>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", False),
        (OK + b"Connection: x, Close\r\nContent-Length: 2\r\n\r\nok", False),
        (OK + b"Content-Length: 2\r\n\r\nok+", False),
        (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", False),
        (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", False),
        (OK + b"Content-Length: 50000\r\n\r\n" + b"a" * 50_000, False),
    ],
)
def test_a_connection_is_kept_after_a_complete_answer(answer: bytes, is_kept: bool) -> None:
    """No byte may follow the answer."""
    answered = read_answer(wire(Fed(answer)))

    answered.read(4096, lenient=True)

    assert answered.is_reusable is is_kept


@pytest.mark.parametrize(
    ("received", "raised"),
    [
        (b"", EndedUnanswered),
        (b"HTTP/1.1 200 OK\r\nX: y", BrokenOff),
        (b"HTTP/1.1 200 OK\r\n", BrokenOff),
        (b"SSH-2.0-OpenSSH_9.6\r\n", HttpError),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", HttpError),
        (b"HTTP/1.1 099 Odd\r\n\r\n", HttpError),
    ],
)
def test_missing_truncated_and_foreign_answers_are_distinguished(received: bytes, raised: type[Exception]) -> None:
    """Distinct kinds: an end before the answer, an end within the answer, and another protocol."""
    with pytest.raises(raised):
        read_answer(wire(Fed(received)))


def test_a_truncated_body_is_no_answer_of_a_source() -> None:
    """The operation's status must come from a complete body."""
    answer = read_answer(wire(Fed(OK + b"Content-Length: 9\r\n\r\nhalf")))

    with pytest.raises(BrokenOff):
        answer.read(100)


@pytest.mark.parametrize(
    ("headers", "target"),
    [
        ({"X": "a\r\nY: b"}, "/"),
        ({"X\n": "a"}, "/"),
        ({"X": "a\0"}, "/"),
        ({}, "/a b"),
        ({}, "a"),
        ({}, "/\n"),
        ({}, ""),
    ],
)
def test_line_breaks_are_never_written_into_a_head(headers: dict[str, str], target: str) -> None:
    """The check is the last one, whatever other checks let through."""
    with pytest.raises(ValueError, match="cannot be sent"):
        write_request("POST", "a.example", target, headers, b"")


def test_a_request_is_one_piece() -> None:
    """Head and body are one segment, so the receiver wakes up once."""
    request = write_request("POST", "a.example:8443", "/a?b=50%", {"X": "y"}, b"body")

    head = b"POST /a?b=50% HTTP/1.1\r\nHost: a.example:8443\r\nX: y\r\nContent-Length: 4\r\n\r\n"
    assert request == head + b"body"

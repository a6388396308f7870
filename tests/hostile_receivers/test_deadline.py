"""The parts of an attempt's deadline."""

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from typing_extensions import override

from bridge.adapters.azure.session import CoalescedRequest
from bridge.adapters.net.deadline import AbortHandle, AttemptDeadline


def test_a_connection_opened_after_the_deadline_is_aborted_at_once() -> None:
    """The connection was still opening when the time ran out."""
    ours, theirs = socket.socketpair()
    handle = AbortHandle(ours, "127.0.0.1")
    with ours, theirs, AttemptDeadline(300) as deadline:
        deadline._cut()

        deadline.hold(handle)

        assert ours.recv(1) == b""
    handle.orphan()
    assert handle._handle.fileno() == -1


def test_no_part_of_an_attempt_gets_more_than_the_remaining_time() -> None:
    """Without time left, a part does not start."""
    with AttemptDeadline(300) as deadline:
        assert deadline.remaining(5) == 5
        assert deadline.remaining(900) <= 300
    with pytest.raises(TimeoutError):
        AttemptDeadline(-1).remaining(5)


def test_an_ended_attempt_cannot_abort_the_next_one() -> None:
    """The connection returned to the pool just before the end of the attempt."""
    ours, theirs = socket.socketpair()
    handle = AbortHandle(ours, "127.0.0.1")
    with ours, theirs:
        handle.hold("first")
        handle.hold("second")

        handle.cut("first")
        handle.release("first")
        handle.orphan()

        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"
        handle.cut("second")
        assert ours.recv(1) == b""
    handle.release("second")
    assert handle._handle.fileno() == -1


def test_a_handle_is_closed_after_library_and_attempt_release_it() -> None:
    """The library ends with the connection, the attempt with the answer, in either order."""
    for order in (("orphan", "release"), ("release", "orphan")):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            handle = AbortHandle(ours, "127.0.0.1")
            handle.hold(order)
            steps: dict[str, Callable[[], None]] = {"orphan": handle.orphan, "release": partial(handle.release, order)}

            steps[order[0]]()
            assert handle._handle.fileno() != -1
            steps[order[1]]()

            assert handle._handle.fileno() == -1


def test_head_and_body_are_sent_together() -> None:
    """Head and body are one segment, so the receiver wakes up once."""
    sent: list[bytes] = []

    class Recorded(CoalescedRequest):
        def connect(self) -> None:
            ours, self.theirs = socket.socketpair()
            self.sock = ours

        @override
        def send(self, data: Any) -> None:
            super().send(data)
            if self.parts is None:
                sent.append(data)

    connection = Recorded("127.0.0.1")
    connection.request("POST", "/", body=b"body", headers={"Content-Length": "4"})

    assert len(sent) == 1
    assert connection.theirs.recv(4096) == sent[0]
    assert sent[0].startswith(b"POST / HTTP/1.1\r\n")
    assert sent[0].endswith(b"\r\n\r\nbody")
    connection.close()
    connection.theirs.close()

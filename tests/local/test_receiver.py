"""The receiver of callbacks."""

import threading
from collections.abc import Iterator

import pytest
import requests

from local.answer import Answer
from local.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Serve a receiver."""
    with Receiver.start() as receiver:
        yield receiver


def post(receiver: Receiver, path: str = "/callback", body: bytes = b"{}") -> int:
    """Send a callback."""
    return requests.post(receiver.url + path, data=body, headers={"webhook-id": "msg_1"}, timeout=60).status_code


def test_callbacks_are_kept_byte_for_byte(receiver: Receiver) -> None:
    """The signature covers the bytes."""
    post(receiver, "/a/b?c=%20d", b'{"a":\xff 1}')

    (callback,) = receiver.callbacks

    assert (callback.method, callback.path, callback.answered) == ("POST", "/a/b?c=%20d", 204)
    assert callback.body == b'{"a":\xff 1}'
    assert callback.headers["webhook-id"] == "msg_1"


def test_content_is_the_body_read_as_json(receiver: Receiver) -> None:
    """Tests can read the content."""
    post(receiver, body=b'{"type": "x"}')

    assert receiver.callbacks[0].content == {"type": "x"}


def test_path_gives_scripted_answers_and_then_the_default(receiver: Receiver) -> None:
    """The sequence simulates a receiver that recovers."""
    receiver.answer("/flaky", 500, Answer(status=503, headers={"Retry-After": "1"}))

    assert [post(receiver, "/flaky") for _ in range(3)] == [500, 503, 204]
    assert post(receiver, "/other") == 204


def test_path_can_repeat_an_answer_forever(receiver: Receiver) -> None:
    """The option simulates a permanent failure."""
    receiver.answer("/gone", then=410)

    assert [post(receiver, "/gone?x=1") for _ in range(2)] == [410, 410]


def test_waiting_ends_with_the_callback(receiver: Receiver) -> None:
    """The wait neither sleeps nor polls."""
    sender = threading.Thread(target=post, args=(receiver,))
    sender.start()

    (callback,) = receiver.wait_for(1)

    sender.join()
    assert callback.path == "/callback"


def test_failed_wait_lists_the_received_callbacks(receiver: Receiver) -> None:
    """The failure message of a test lists the callbacks."""
    post(receiver, "/one")

    with pytest.raises(TimeoutError, match="/one"):
        receiver.wait_for(lambda callbacks: len(callbacks) > 1, timeout=0)


def test_callbacks_are_listed_over_http(receiver: Receiver) -> None:
    """The request for the list is not a callback."""
    post(receiver, "/one", b"\xff{}")

    for _ in range(2):
        (listed,) = requests.get(f"{receiver.url}/callbacks", timeout=10).json()

    assert (listed["method"], listed["path"], listed["answered"], listed["body"]) == ("POST", "/one", 204, "�{}")
    assert listed["headers"]["webhook-id"] == "msg_1"


def test_person_sees_each_callback_in_two_lines() -> None:
    """The lines have the type and the content."""
    output: list[str] = []
    with Receiver.start(say=output.append) as receiver:
        post(receiver, body=b'{"type":"x"}')

    assert output == ['callback: POST /callback msg_1, answered 204\n    {"type":"x"}']


def test_stop_does_not_wait_for_delays() -> None:
    """A delayed answer is sent at the end."""
    statuses: list[int] = []
    receiver = Receiver.start()
    receiver.answer("/callback", Answer(status=200, delay=3600))
    client = threading.Thread(target=lambda: statuses.append(post(receiver)))
    client.start()
    receiver.wait_for(1)

    receiver.stop()

    client.join()
    assert statuses == [200]


def test_the_query_of_a_callback_is_not_printed() -> None:
    """The query can be a secret. The list for tests of receivers has the query."""
    output: list[str] = []
    with Receiver.start(say=output.append) as receiver:
        post(receiver, "/callback?code=canary")
        [listed] = requests.get(f"{receiver.url}/callbacks", timeout=10).json()

    assert output[0].startswith("callback: POST /callback?… ")
    assert "canary" not in output[0]
    assert listed["path"] == "/callback?code=canary"


def test_person_who_watches_sees_the_verdict_on_a_callback() -> None:
    output: list[str] = []
    with Receiver.start(say=output.append, verdict=lambda callback: f"seen {callback.path}") as receiver:
        post(receiver, "/callback?code=secret")

    assert output == ["callback: POST /callback?… msg_1, answered 204, seen /callback?code=secret\n    {}"]

"""Failures of the fake Speech service: every known answer, throttling, hangs and resets."""

import json
import re
from typing import Any

import pytest
import requests

from local.settings import REPOSITORY
from local.upstream import Upstream
from local.upstream.catalogue import named
from tests.local.fake_speech import KEY, Clock

FACTS = REPOSITORY / "tests" / "facts" / "upstream-responses.json"

#: The known answers of the real service and related APIs.
ANSWERS: list[dict[str, Any]] = json.loads(FACTS.read_text())

#: More than the threads of the fake Speech service.
MANY = 20


def ask(upstream: Upstream, operation_id: str = "some-op", *, key: str = KEY, timeout: float = 10) -> requests.Response:
    """Send a request like the bridge."""
    url = f"{upstream.endpoint}/avatar/operations/{operation_id}?api-version=2024-08-01"
    return requests.get(url, headers={"Ocp-Apim-Subscription-Key": key}, timeout=timeout)


def steer(upstream: Upstream, path: str, told: object) -> requests.Response:
    """Send an order like a person."""
    return requests.put(f"{upstream.endpoint}/fake-speech/{path}", data=json.dumps(told), timeout=10)


def test_the_answers_match_the_known_ones() -> None:
    """The fake Speech service has a copy, since it runs without the tests."""
    copy = REPOSITORY / "local" / "upstream" / "answers.json"

    assert json.loads(copy.read_text()) == ANSWERS


@pytest.mark.parametrize("known", ANSWERS, ids=lambda known: known["name"])
def test_every_known_answer_is_given_by_its_name(upstream: Upstream, known: dict[str, Any]) -> None:
    """Compared: status, headers and body, with the requested operation."""
    expected = known.get("body")
    if expected and "id" in expected and known["name"] != "another operation's id":
        expected = {**expected, "id": "some-op"}

    told = steer(upstream, "operations/some-op", {"answers": [known["name"]]})
    answer, after = ask(upstream), ask(upstream)

    assert (told.status_code, answer.status_code) == (204, known["status"])
    assert known["headers"].items() <= answer.headers.items()
    assert answer.text == known["text"] if expected is None else answer.json() == expected
    assert after.json() == {"id": "some-op", "status": "NotStarted"}


def test_names_are_listed(upstream: Upstream) -> None:
    """The list has the meaning of each name for a poller. A wrong name is answered with the list."""
    listed = requests.get(f"{upstream.endpoint}/fake-speech/answers", timeout=10).json()
    wrong = steer(upstream, "operations/some-op", {"answers": ["no such answer"]})

    expected = [{name: each[name] for name in ("name", "status", "meaning")} for each in ANSWERS]
    assert listed == expected
    assert wrong.status_code == 400
    assert all(each["name"] in wrong.json()["error"]["message"].replace('"', "'") for each in ANSWERS)


def test_operation_can_be_lost(upstream: Upstream) -> None:
    """Only this operation, until another order."""
    steer(upstream, "operations/some-op", {"always": "not found (from the schema)"})
    lost = [ask(upstream).status_code for _ in range(3)]
    other = ask(upstream, "other-op").status_code
    steer(upstream, "operations/some-op", {"statuses": ["Succeeded"]})

    assert (lost, other) == ([404, 404, 404], 200)
    assert ask(upstream).json()["status"] == "Succeeded"


def test_everything_is_throttled_for_a_while(upstream: Upstream, clock: Clock) -> None:
    """Afterwards, regular answers continue."""
    steer(upstream, "operations", {"always": "throttled with seconds", "seconds": 60})
    during = [ask(upstream, each) for each in ("one-op", "other-op")]
    clock.now += 60

    assert [(each.status_code, each.headers["Retry-After"]) for each in during] == [(429, "38")] * 2
    assert ask(upstream).json()["status"] == "NotStarted"
    assert [each.answered for each in upstream.requests] == [429, 429, 200]


def test_every_order_can_be_revoked(upstream: Upstream) -> None:
    """Used for orders without a duration."""
    upstream.script_all(named("wrong key (gateway)"))
    refused = ask(upstream).status_code

    taken_back = requests.delete(f"{upstream.endpoint}/fake-speech/operations", timeout=10)

    assert (refused, taken_back.status_code, ask(upstream).status_code) == (401, 204, 200)


def test_connection_is_reset(upstream: Upstream) -> None:
    """The next connection works."""
    steer(upstream, "operations/some-op", {"answers": [{"reset": True}]})

    with pytest.raises(requests.ConnectionError, match="Connection reset by peer"):
        ask(upstream)

    assert ask(upstream).status_code == 200
    assert [each.answered for each in upstream.requests] == [0, 200]


def test_hanging_answers_leave_room_for_others(upstream: Upstream) -> None:
    """Any number of answers may hang, since their clients time out."""
    steer(upstream, "operations/some-op", {"always": {"hang": True}})

    for _ in range(MANY):
        with pytest.raises(requests.ReadTimeout):
            ask(upstream, timeout=0.05)

    assert ask(upstream, "other-op").status_code == 200


@pytest.mark.parametrize("told", [{"alwys": "not JSON"}, {"seconds": 0}, {"always": "nonsense"}, {"always": {}}])
def test_misspelt_order_for_all_is_a_400(upstream: Upstream, told: object) -> None:
    """Otherwise, the order would have no effect and no message."""
    assert steer(upstream, "operations", told).status_code == 400


def test_a_misspelt_order_is_rejected_with_the_wrong_word(upstream: Upstream) -> None:
    """The message is one line."""
    error = steer(upstream, "operations", {"alwys": "not JSON", "seconds": 5}).json()["error"]

    assert (error["code"], error["message"]) == ("BadRequest", "alwys: Extra inputs are not permitted")


ORDERS = [
    order
    for page in (REPOSITORY / "docs" / "local.md", REPOSITORY / "local" / "README.md")
    for order in re.findall(r"^curl -X PUT \$fake_speech(/[\w/-]+) -d '([^']+)'", page.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(("path", "told"), ORDERS)
def test_documented_orders_are_accepted(upstream: Upstream, path: str, told: str) -> None:
    """Covers every order in docs/local.md and in the page next to the code."""
    answer = requests.put(f"{upstream.endpoint}/fake-speech{path}", data=told, timeout=10)

    assert (answer.status_code, answer.text) == (204, "")


def test_documented_orders_exist() -> None:
    """An empty list would pass the test above."""
    assert len(ORDERS) >= 9


def test_an_unknown_order_is_answered_with_the_known_ones(upstream: Upstream) -> None:
    """The answer helps a person after a wrong guess."""
    answer = requests.get(f"{upstream.endpoint}/fake-speech/", timeout=10)

    assert answer.status_code == 404
    assert "PUT    /fake-speech/operations/{id}" in answer.json()["error"]["message"]

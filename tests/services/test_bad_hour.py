"""An hour of random answers from the fake Speech service: no operation is lost, and the budget holds."""

import random
from collections import Counter
from datetime import timedelta

import pytest

from bridge.adapters.net.guard import Limits
from bridge.adapters.speech import SpeechService
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import State
from bridge.settings import Settings
from local.answer import Answer
from local.upstream import Upstream
from tests.support.harness import NOON, FakeClock, harness

#: The answers in place of a status, with weights. The rare one takes real time.
MOODS = [
    (5, Answer(status=429)),
    (5, Answer(status=429, headers={"Retry-After": "20"})),
    (5, Answer(status=429, headers={"Retry-After": "Mon, 23 Nov 2026 12:01:00 GMT"})),
    (5, Answer(status=429, headers={"Retry-After": "soon"})),
    (10, Answer(status=500, body=b"<html>maintenance</html>")),
    (5, Answer(status=503, headers={"Retry-After": "10"})),
    (10, Answer(status=200, body=b"<html>maintenance</html>")),
    (10, Answer(status=200, body=b'{"id": "some-other-operation", "status": "Succeeded"}')),
    (5, Answer(status=404)),
    (10, Answer.parse({"body": {"status": "Paused"}})),
    (5, Answer.parse({"reset": True})),
    (1, Answer.parse({"hang": True})),
]


@pytest.mark.sockets
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_bad_hour_loses_no_operation_and_keeps_the_budget(seed: int) -> None:
    """The hour has 429, 500, HTML, hangs, resets, a revoked and restored key, and ids of other operations."""
    weights, moods = zip(*MOODS, strict=True)
    dice = random.Random(seed)
    ends = {f"operation-{number:02d}": dice.uniform(0, 90 * 60) for number in range(10)}
    clocks: list[FakeClock] = []

    def real(settings: Settings, clock: FakeClock) -> SpeechService:
        clocks.append(clock)
        proof = {"Ocp-Apim-Subscription-Key": "good"}
        return SpeechService(settings.sources, {"default": lambda: proof}, Limits(attempt=0.2))

    with Upstream.start(key="good", clock=lambda: clocks[0]().timestamp()) as upstream:
        bridge = harness(upstream=real, SPEECH_ENDPOINT=upstream.endpoint, SPEECH_REQUESTS_PER_SECOND="0.5")
        for name, end in ends.items():
            upstream.script(name, (0, "Running"), (end, "Succeeded"))
            bridge.register(name)
        for _ in range(6 * 150):
            minute = (bridge.clock() - NOON) // timedelta(minutes=1)
            upstream.key = "revoked" if 20 <= minute < 25 else "good"
            for name in ends:
                is_bad = minute < 60 and dice.random() < 0.5
                upstream.script(name, always=dice.choices(moods, weights)[0] if is_bad else None)
            bridge.sweep()
            bridge.deliver_all()
            bridge.clock.advance(10)
        asked = upstream.requests

    operations = {name: bridge.aggregate(name).operation.record for name in ends}
    assert {each.final_status for each in operations.values()} == {FinalStatus.SUCCEEDED}
    observed = {name: (each.finished_at or NOON) - NOON for name, each in operations.items()}
    assert all(observed[name].total_seconds() >= end for name, end in ends.items())
    states = Counter(each.record.state for name in ends for each in bridge.aggregate(name).registrations.values())
    assert states == {State.DELIVERED: 10}
    assert {0, 200, 401, 404, 429, 500, 503} == {each.answered for each in asked}
    assert within_budget([each.at for each in asked], rate=0.5, burst=5)


def within_budget(times: list[float], *, rate: float, burst: float) -> bool:
    """Return whether every window of t seconds had at most rate · t + burst requests."""
    return all(
        count <= rate * (at - began) + burst + 1e-6
        for begin, began in enumerate(times)
        for count, at in enumerate(times[begin:], 1)
    )


@pytest.mark.parametrize(
    ("times", "is_within"), [([0, 0], True), ([0, 0, 0], False), ([0, 0, 1], True), ([0, 0, 1, 1.5], False)]
)
def test_the_check_of_the_budget_detects_an_excess(times: list[float], is_within: bool) -> None:
    """One request too many is detected."""
    assert within_budget(times, rate=1, burst=2) is is_within

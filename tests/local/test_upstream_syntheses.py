"""Jobs submitted to the fake Speech service like by a real client, and their durations."""

import statistics

import pytest
import requests

from local.upstream import DEFAULT_LIFE, Durations, Rules, Upstream
from local.upstream.lives import life_of
from tests.local.fake_speech import KEY, WORK, Clock


def call(
    upstream: Upstream, method: str, synthesis_id: str, body: object = None, key: str = KEY, **headers: str
) -> requests.Response:
    """Call the synthesis API."""
    url = f"{upstream.endpoint}/avatar/batchsyntheses/{synthesis_id}?api-version=2024-08-01"
    headers = {"Ocp-Apim-Subscription-Key": key, **{name.replace("_", "-"): text for name, text in headers.items()}}
    return requests.request(method, url, headers=headers, json=body, timeout=10)


def test_submitted_work_is_an_operation(upstream: Upstream, clock: Clock) -> None:
    """The operation has an id and a location, and starts at once. The synthesis has the same status."""
    submitted = call(upstream, "PUT", "my-video", WORK)
    clock.now += 5
    location = submitted.headers["Operation-Location"]
    operation = requests.get(location, headers={"Ocp-Apim-Subscription-Key": KEY}, timeout=10).json()
    clock.now += 10
    synthesis = call(upstream, "GET", "my-video").json()

    assert (submitted.status_code, submitted.json()["status"]) == (201, "NotStarted")
    operation_id = submitted.headers["Operation-Id"]
    assert location == f"{upstream.endpoint}/avatar/operations/{operation_id}?api-version=2024-08-01"
    assert operation == {"id": operation_id, "status": "Running"}
    assert (synthesis["id"], synthesis["status"], synthesis["inputKind"]) == ("my-video", "Succeeded", "PlainText")
    assert "my-video" in synthesis["outputs"]["result"]
    assert synthesis["createdDateTime"] <= synthesis["lastActionDateTime"]


def test_client_can_name_the_operation(upstream: Upstream) -> None:
    """The client then knows the id before the answer."""
    submitted = call(upstream, "PUT", "my-video", WORK, Operation_Id="my-own-op")

    assert submitted.headers["Operation-Id"] == "my-own-op"
    assert "/avatar/operations/my-own-op?" in submitted.headers["Operation-Location"]


def test_only_the_synthesis_has_the_reason_of_a_failure(upstream: Upstream) -> None:
    """The operation only has the status Failed."""
    call(upstream, "PUT", "my-video", WORK, Operation_Id="my-own-op")
    upstream.script("my-own-op", "Failed")

    synthesis = call(upstream, "GET", "my-video").json()

    assert synthesis["status"] == "Failed"
    assert set(synthesis["properties"]["error"]) == {"code", "message"}
    assert "outputs" not in synthesis


@pytest.mark.parametrize(
    ("method", "body", "key", "expected"),
    [
        ("PUT", {"inputKind": "PlainText"}, KEY, 400),
        ("PUT", None, KEY, 400),
        ("PUT", WORK, "wrong", 401),
        ("GET", None, "wrong", 401),
        ("GET", None, KEY, 404),
        ("DELETE", None, KEY, 404),
    ],
)
def test_submission_is_checked(upstream: Upstream, method: str, body: object, key: str, expected: int) -> None:
    """Checked: inputs, key and method."""
    assert call(upstream, method, "my-video", body, key).status_code == expected


def test_a_repeated_submission_is_a_conflict(upstream: Upstream) -> None:
    """The first job continues."""
    first = call(upstream, "PUT", "my-video", WORK, Operation_Id="first-op")

    second = call(upstream, "PUT", "my-video", WORK, Operation_Id="second-op")

    assert (first.status_code, second.status_code) == (201, 409)


def seconds_of(spec: str, seed: int = 1, count: int = 2000) -> list[float]:
    """Return the durations of many operations."""
    durations = Durations.parse(spec)
    return [durations.of(f"op-{number}", seed) for number in range(count)]


def test_durations_follow_the_chosen_distribution() -> None:
    """The distributions are fixed, long-tailed, and bimodal."""
    fixed, tailed, two = (seconds_of(spec) for spec in ("7.5", "lognormal:20,0.8", "bimodal:10,300,0.25"))

    assert set(fixed) == {7.5}
    assert statistics.median(tailed) == pytest.approx(20, rel=0.1)
    assert statistics.quantiles(tailed, n=20)[-1] == pytest.approx(20 * 3.7, rel=0.2)
    assert sum(each > 100 for each in two) / len(two) == pytest.approx(0.25, abs=0.03)
    assert statistics.median(each for each in two if each < 100) == pytest.approx(10, rel=0.1)


def test_same_seed_means_same_durations() -> None:
    """The order of requests is irrelevant."""
    assert seconds_of("lognormal:20,0.8", seed=7) == seconds_of("lognormal:20,0.8", seed=7)
    assert seconds_of("lognormal:20,0.8", seed=7) != seconds_of("lognormal:20,0.8", seed=8)


def test_served_operations_live_by_the_distribution(clock: Clock) -> None:
    """A quarter of the duration is NotStarted."""
    assert life_of("any-op", 12) == DEFAULT_LIFE
    with Upstream.start(key=KEY, clock=clock, rules=Rules(durations=Durations.parse("100"))) as upstream:
        statuses = []
        for seconds in (0, 25, 74, 1):
            clock.now += seconds
            call(upstream, "PUT", "my-video", WORK, Operation_Id="my-own-op")
            statuses.append(call(upstream, "GET", "my-video").json()["status"])

    assert statuses == ["NotStarted", "Running", "Running", "Succeeded"]


@pytest.mark.parametrize("spec", ["", "x", "-1", "lognormal:20", "bimodal:1,2,3", "bimodal:1,2", "1e3"])
def test_an_invalid_distribution_is_rejected(spec: str) -> None:
    """The error has valid examples."""
    with pytest.raises(ValueError, match="is not a duration: write 12"):
        Durations.parse(spec)

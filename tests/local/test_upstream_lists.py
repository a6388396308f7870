"""Lists of jobs of the fake Speech service, the ways in which they mislead, and its quota."""

from collections.abc import Mapping
from typing import Any

import pytest
import requests

from local.upstream import ListRules, NextLink, Order, Quota, Rules, Upstream
from local.upstream.quota import Meter
from tests.local.fake_speech import KEY, WORK, Clock


def submit(upstream: Upstream, *ids: str, path: str = "avatar") -> None:
    """Submit jobs, the oldest first. Each has the operation `{id}-op`."""
    for job_id in ids:
        answer = requests.put(
            f"{upstream.endpoint}/{path}/batchsyntheses/{job_id}?api-version=1",
            headers={"Ocp-Apim-Subscription-Key": KEY, "Operation-Id": f"{job_id}-op"},
            json=WORK,
            timeout=10,
        )
        assert answer.status_code == 201


def listed(upstream: Upstream, path: str = "avatar", **query: Any) -> requests.Response:
    """Request a page."""
    return requests.get(
        f"{upstream.endpoint}/{path}/batchsyntheses",
        params={"api-version": "1", **query},
        headers={"Ocp-Apim-Subscription-Key": KEY},
        timeout=10,
    )


def ids(answer: requests.Response) -> list[str]:
    """Return the ids of a page."""
    return [each["id"] for each in answer.json()["value"]]


def test_jobs_are_listed_newest_first_page_by_page(upstream: Upstream) -> None:
    submit(upstream, "job-1", "job-2", "job-3")
    submit(upstream, "spoken", path="texttospeech")

    first = listed(upstream, maxpagesize=2)
    following = requests.get(first.json()["nextLink"], headers={"Ocp-Apim-Subscription-Key": KEY}, timeout=10)

    assert (ids(first), ids(following)) == (["job-3", "job-2"], ["job-1"])
    assert "nextLink" not in following.json()


def test_a_listed_job_is_the_job_itself(upstream: Upstream, clock: Clock) -> None:
    """Its last action is the time at which its status began, however late it is read."""
    submit(upstream, "job-1")
    clock.now += 3600

    [shown] = listed(upstream).json()["value"]

    alone = requests.get(
        f"{upstream.endpoint}/avatar/batchsyntheses/job-1?api-version=1",
        headers={"Ocp-Apim-Subscription-Key": KEY},
        timeout=10,
    ).json()
    assert {**shown, "lastActionDateTime": None} == {**alone, "lastActionDateTime": None}
    assert shown["status"] == "Succeeded"


def test_a_deleted_job_is_gone(upstream: Upstream) -> None:
    submit(upstream, "job-1", "job-2")

    deleted = requests.delete(
        f"{upstream.endpoint}/avatar/batchsyntheses/job-1?api-version=1",
        headers={"Ocp-Apim-Subscription-Key": KEY},
        timeout=10,
    )

    assert (deleted.status_code, ids(listed(upstream))) == (204, ["job-2"])


@pytest.mark.parametrize(
    "query", [{"skip": -1}, {"skip": "x"}, {"maxpagesize": 0}, {"maxpagesize": 101}, {"api-version": ""}]
)
def test_a_wrong_query_is_refused(upstream: Upstream, query: Mapping[str, Any]) -> None:
    assert listed(upstream, **query).status_code == 400


def test_lists_mislead_as_they_are_told(upstream: Upstream) -> None:
    submit(upstream, *(f"job-{number}" for number in range(1, 7)))

    upstream.list_by(ListRules(order=Order.OLDEST_FIRST, drop=frozenset({"job-2"}), repeat=frozenset({"job-5"})))
    assert ids(listed(upstream, maxpagesize=2)) == ["job-1", "job-3", "job-5"]

    upstream.list_by(ListRules(order=Order.SHUFFLED))
    pages = [ids(listed(upstream)) for _ in range(5)]
    assert all(sorted(page) == sorted(pages[0]) for page in pages)
    assert len({tuple(page) for page in pages}) > 1

    upstream.list_by(ListRules(insert=2))
    assert ids(listed(upstream, maxpagesize=2)) == ["job-6", "job-5"]
    assert ids(listed(upstream, skip=2, maxpagesize=2)) == ["job-6", "job-5"]


@pytest.mark.parametrize(
    ("to", "path", "expected"),
    [
        (NextLink.NEXT, "avatar", "{endpoint}/avatar/batchsyntheses?skip=1&maxpagesize=1&api-version=1"),
        (NextLink.NEXT, "texttospeech", "{endpoint}/texttospeech/batchsynthesises?skip=1&maxpagesize=1&api-version=1"),
        (NextLink.SAME, "avatar", "{endpoint}/avatar/batchsyntheses?skip=0&maxpagesize=1&api-version=1"),
        (
            NextLink.ELSEWHERE,
            "avatar",
            "https://elsewhere.invalid/avatar/batchsyntheses?skip=1&maxpagesize=1&api-version=1",
        ),
    ],
)
def test_the_next_link_leads_where_it_is_told(upstream: Upstream, to: NextLink, path: str, expected: str) -> None:
    """By default it leads to the next page, in the spelling of the real service."""
    submit(upstream, "job-1", "job-2", path=path)
    upstream.list_by(ListRules(next_link=to))

    page = listed(upstream, path, maxpagesize=1)

    assert page.json()["nextLink"] == expected.format(endpoint=upstream.endpoint)


def test_a_page_can_be_large(upstream: Upstream) -> None:
    submit(upstream, *(f"job-{number:03d}" for number in range(100)))
    upstream.list_by(ListRules(job_bytes=2_500))

    page = listed(upstream)

    assert len(page.json()["value"]) == 100
    assert len(page.content) >= 250_000


def test_lists_can_be_told_over_http(upstream: Upstream) -> None:
    submit(upstream, "job-1", "job-2")
    told = requests.put(f"{upstream.endpoint}/fake-speech/jobs", json={"drop": ["job-2"]}, timeout=10)
    dropped = ids(listed(upstream))
    wrong = requests.put(f"{upstream.endpoint}/fake-speech/jobs", json={"ordre": "shuffled"}, timeout=10)
    reset = requests.delete(f"{upstream.endpoint}/fake-speech/jobs", timeout=10)

    assert (told.status_code, dropped) == (204, ["job-1"])
    assert (wrong.status_code, "ordre" in wrong.text) == (400, True)
    assert (reset.status_code, ids(listed(upstream))) == (204, ["job-2", "job-1"])


def test_the_quota_counts_submissions_and_requests_together(clock: Clock) -> None:
    """Above the quota the answer is 429, and says when to come back. Requests with a wrong key do not count."""
    clock.now = 120.0
    with Upstream.start(key=KEY, clock=clock, rules=Rules(quota=Quota.parse("2/60"))) as upstream:
        requests.get(f"{upstream.endpoint}/avatar/batchsyntheses?api-version=1", timeout=10)
        submit(upstream, "job-1")
        listed(upstream)
        clock.now += 20

        refused = listed(upstream)

        clock.now += 40
        again = listed(upstream)
        methods = [(each.method, each.answered) for each in upstream.requests]

    assert (refused.status_code, refused.headers["Retry-After"], again.status_code) == (429, "40", 200)
    assert methods == [("GET", 401), ("PUT", 201), ("GET", 200), ("GET", 429), ("GET", 200)]


def test_a_token_bucket_refills_evenly() -> None:
    meter = Meter(Quota.parse("bucket:2/60"))

    waits = [meter.take(at) for at in (0, 0, 0, 15, 30, 30, 120, 120, 120)]

    assert waits == pytest.approx([0, 0, 30, 15, 0, 30, 0, 0, 30])


def test_a_window_refills_at_once() -> None:
    meter = Meter(Quota.parse("2/60"))

    waits = [meter.take(at) for at in (5, 59, 59.5, 60, 60, 61)]

    assert waits == [0, 0, 0.5, 0, 0, 59]


@pytest.mark.parametrize("text", ["", "2", "0/60", "2/0", "-1/60", "bucket:", "2/60s", "½/60"])
def test_an_invalid_quota_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quota: write 2/60"):
        Quota.parse(text)

"""What is broken: the faults of the bridge, with advice."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.dashboard.browser import NOW, is_ready, looking
from tests.dashboard.conftest import KEY, Site


def changed(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Route], None]:
    """Return a handler that changes the answer of the bridge."""

    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=change(response.json()))

    return answer


def after(seconds: int) -> str:
    """Return a time after NOW, or before it."""
    return (NOW + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


#: A status without a fault.
GOOD: Mapping[str, object] = {"lastSweepAt": after(-30), "oldestOverdueAt": None, "clocksAhead": []}


def reopened(page: Page, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Open the page again at NOW, with a changed answer of the status."""
    page.clock.set_fixed_time(NOW)
    page.route("**/api/status", changed(lambda answer: change({**answer, **GOOD})))
    page.reload()
    is_ready(page)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lastSweepAt": after(-300)}, "Sweeps the last one was 5 min ago Check BRIDGE_POLL_SCHEDULE"),
        ({"lastSweepAt": None}, "Sweeps none yet Check BRIDGE_POLL_SCHEDULE"),
        ({"oldestOverdueAt": after(-600)}, "Work the oldest is overdue for 10 min Check the sources"),
        ({"clocksAhead": [{"row": "heartbeat", "columns": ["at"]}]}, "Clocks times of heartbeat lie ahead"),
        (
            {"queue": {"problem": "QueueNotFound", "advice": "look", "since": after(-60)}},
            "Queue QueueNotFound, for 60 s Look.",
        ),
    ],
    ids=["late sweep", "no sweep", "overdue", "clocks", "queue"],
)
def test_faults_of_the_bridge_are_on_top(browser: Browser, site: Site, fields: dict[str, object], words: str) -> None:
    with looking(browser, site.url, key=KEY) as page:
        reopened(page, lambda answer: {**answer, **fields})

        expect(page.locator("#broken .faults li").first).to_contain_text(words, use_inner_text=True)


def test_paused_and_throttled_sources_are_explained(browser: Browser, site: Site) -> None:
    """The remaining time is a length of time, and a price is a slower polling."""
    problem = {"kind": "unauthorized", "detail": "HTTP 401 (401: Access denied)"}

    def change(answer: dict[str, Any]) -> dict[str, Any]:
        [source] = answer["sources"]
        paused = {
            **source,
            "name": "paused",
            "pausedUntil": after(43),
            "problem": problem,
            "advice": "check SPEECH_KEY",
        }
        throttled = {**source, "name": "throttled", "stoppedUntil": after(27), "shadowPrice": 7.4}
        return {**answer, "sources": [paused, throttled]}

    with looking(browser, site.url, key=KEY) as page:
        reopened(page, change)

        fault = page.locator("#broken .faults li").first
        expect(fault).to_contain_text("Source paused paused for 43 s")
        expect(fault).to_contain_text("HTTP 401 (401: Access denied). Check SPEECH_KEY.")
        sources = page.locator("#sources")
        expect(sources).to_contain_text("too many requests (429), stopped for 27 s")
        expect(sources).to_contain_text(re.compile("over budget: polling 7.4. less often"))


def test_sweep_is_shown_to_the_minute(browser: Browser, site: Site) -> None:
    """The value is to the minute, so that 66 s are no outage."""
    with looking(browser, site.url, key=KEY) as page:
        reopened(page, lambda answer: {**answer, "lastSweepAt": after(-66)})

        expect(page.locator("#health")).to_contain_text("in the last minute ✓")
        expect(page.locator("#broken")).not_to_contain_text("Sweeps")

"""What is broken: faults of the bridge, failing receivers with advice, and redelivering many."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.dashboard.browser import NOW, is_ready, looking, state_of
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


def test_failing_receivers_are_grouped_by_cause_with_advice(browser: Browser, site: Site) -> None:
    """A line leads to its registrations. Callbacks that arrive are not in it."""
    site.at.receiver.answer("/404", then=404)
    for operation_id, path in (("broken-a", "404"), ("broken-b", "404"), ("not-broken", "callback")):
        site.at.upstream.script(operation_id, "Succeeded")
        site.register(operation_id, f"{site.at.receiver.url}/{path}")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        state_of(page, "broken-a", "retrying")
        state_of(page, "broken-b", "retrying")
        state_of(page, "not-broken", "delivered")
        page.reload()
        is_ready(page)
        line = page.locator("#broken li").filter(has_text="HTTP 404")
        expect(line).to_contain_text(f"127.0.0.1:{site.at.receiver.port} HTTP 404: 2 retrying")
        expect(line).to_contain_text("The receiver has nothing at this path. Check the path of the callback URL.")
        expect(page.locator("#counts")).to_contain_text(re.compile(r"\d+ retrying"))
        line.get_by_role("button", name="Show these").click()

        expect(page.locator("#rows .id")).to_have_count(2)
        expect(page.get_by_role("button", name="Remove the filter: HTTP 404")).to_be_visible()


def test_many_are_redelivered_after_a_preview(browser: Browser, site: Site) -> None:
    """The preview shows how many at which hosts, and starts nothing. A changed form needs another preview."""
    site.at.receiver.answer("/back-soon", 502, 502, then=204)
    site.at.upstream.script("many-a", "Succeeded")
    site.register("many-a", f"{site.at.receiver.url}/back-soon")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        state_of(page, "many-a", "retrying")
        expect(page.get_by_text("HTTP 502, 2 of 10")).to_be_visible()
        page.reload()
        is_ready(page)
        attempts = len(site.at.receiver.callbacks)
        page.locator("#broken li").filter(has_text="HTTP 502").get_by_role("button", name="Redeliver …").click()
        dialog = page.get_by_role("dialog", name="Redeliver many")
        expect(dialog.get_by_label("Host")).to_have_value(f"127.0.0.1:{site.at.receiver.port}")
        dialog.get_by_role("button", name="Preview").click()
        result = dialog.get_by_role("status")
        expect(result).to_contain_text("1 delivery at 1 host:")
        expect(result).to_contain_text(f"127.0.0.1:{site.at.receiver.port}: 1, HTTP 502")
        expect(result).to_contain_text("Nothing has started yet.")
        dialog.get_by_label("Group").fill("none-has-this")
        expect(result).to_be_empty()
        dialog.get_by_role("button", name="Preview").click()
        expect(result).to_have_text("No registration matches.")
        dialog.get_by_label("Group").fill("")
        dialog.get_by_role("button", name="Preview").click()
        expect(result).to_contain_text("1 delivery at 1 host:")
        assert len(site.at.receiver.callbacks) == attempts
        result.get_by_role("button", name="Redeliver 1").click()
        expect(result).to_have_text("Started: 1 delivery.")
        page.keyboard.press("Escape")

        state_of(page, "many-a", "delivered")


def test_failed_deliveries_are_redelivered_too(browser: Browser, site: Site) -> None:
    """The state of the filter is preset. A line of the list can say no after all."""
    site.at.receiver.answer("/gone", 410, then=204)
    site.at.upstream.script("died-of-410", "Succeeded")
    site.register("died-of-410", f"{site.at.receiver.url}/gone", group="dies")
    with looking(browser, site.url, key=KEY, view="?group=dies&state=dead") as page:
        is_ready(page)
        state_of(page, "died-of-410", "failed")
        page.get_by_role("button", name="Redeliver many").click()
        dialog = page.get_by_role("dialog", name="Redeliver many")
        expect(dialog.get_by_role("checkbox", name="waiting for their next attempt")).not_to_be_checked()
        dialog.get_by_role("checkbox", name="failed").uncheck()
        dialog.get_by_role("button", name="Preview").click()
        expect(dialog.locator('[data-field="states"]')).to_contain_text("Choose at least one")
        dialog.get_by_role("checkbox", name="failed").check()
        dialog.get_by_role("button", name="Preview").click()
        dialog.get_by_role("button", name="Redeliver 1").click()
        expect(dialog.get_by_role("status")).to_have_text("Started: 1 delivery.")
        page.keyboard.press("Escape")

        expect(page.get_by_text("No registration matches: failed, group dies.")).to_be_visible()
        page.get_by_role("button", name="Remove the filter: failed").click()
        state_of(page, "died-of-410", "delivered")


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

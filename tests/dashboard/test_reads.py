"""How often the page reads the bridge, and the polling schedule that it shows. The browser's clock is a fake one."""

from playwright.sync_api import Browser, Page, expect

from tests.dashboard.browser import is_ready, looking
from tests.dashboard.conftest import KEY, Site
from tests.support.situations import OPEN, place

#: Seconds of one step of the fake clock.
STEP = 2


def steps(page: Page, calls: list[str], minutes: int) -> list[int]:
    """Let minutes pass without interaction. Returns the number of calls in each minute."""
    counts = []
    for _ in range(minutes):
        before = len(calls)
        for _ in range(60 // STEP):
            page.clock.run_for(STEP * 1000)
            page.evaluate("async () => { while (running) await running; }")
        counts.append(len(calls) - before)
    return counts


def test_page_that_is_not_used_reads_ever_more_rarely(browser: Browser, site: Site) -> None:
    """Every 5 s at first, one call a minute after 10 minutes, and at once after an interaction."""
    with looking(browser, site.url, key=KEY, with_fake_clock=True) as page:
        calls: list[str] = []
        page.on("request", lambda request: calls.append(request.url.rpartition("/api/")[2].partition("?")[0]))
        is_ready(page)
        first, *later = steps(page, calls, 10)
        idle = steps(page, calls, 15)

        assert first >= 2 * 8  # status and list, more than every 8 s
        assert later[-1] < first / 3
        assert max(idle) <= 1
        assert sum(idle) >= 12
        assert {"status", "registrations", "redeliver", "overview"} <= set(calls[-sum(idle) :])
        expect(page.locator("#seen")).to_contain_text("one call a minute while the page is not used")
        with page.expect_request("**/api/status"):
            page.mouse.move(10, 10)


def test_hidden_page_reads_nothing(browser: Browser, site: Site) -> None:
    with looking(browser, site.url, key=KEY, with_fake_clock=True) as page:
        is_ready(page)
        page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
        calls: list[str] = []
        page.on("request", lambda request: calls.append(request.url))

        assert steps(page, calls, 2) == [0, 0]


def test_exponential_plan_is_explained(browser: Browser) -> None:
    """BRIDGE_POLL_PLAN=exponential learns nothing, and the page shows when a new operation is polled."""
    with place() as at:
        app = at.start({**OPEN, "BRIDGE_POLL_PLAN": "exponential"})
        with looking(browser, app.url) as page:
            is_ready(page)
            page.get_by_text("Polling schedule").click()

            expect(page.locator("#schedule-of")).to_contain_text("The exponential plan learns no durations.")
            expect(page.locator("#schedule-of")).to_contain_text("A new operation is polled ")
            expect(page.locator("#schedule-of svg")).to_have_count(0)


def test_foot_has_the_version_and_links(browser: Browser, site: Site) -> None:
    """Each link leads to a page of the bridge."""
    with looking(browser, site.url, key=KEY) as page:
        links = page.locator("footer a")
        found = [page.request.get(str(link.evaluate("element => element.href"))) for link in links.all()]

        assert [each.status for each in found] == [200] * links.count()
        assert found[0].json()["openapi"].startswith("3.")
        expect(page.locator("footer")).to_contain_text("Speech webhooks")

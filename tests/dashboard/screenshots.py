"""Screenshots of the page for the README: `python -m tests.dashboard.screenshots`, from the started app."""

from pathlib import Path

import requests
from playwright.sync_api import Browser, Page, expect

from local.answer import Answer
from local.upstream.catalogue import named
from tests.dashboard.browser import Scheme, chromium, is_ready, looking, opened
from tests.support import situations
from tests.support.situations import OPEN, Place

FOLDER = Path(__file__).parents[2] / "docs" / "dashboard"
_BUSY = 400


def main() -> None:
    """Take all screenshots."""
    FOLDER.mkdir(exist_ok=True)
    with chromium() as browser:
        with situations.place() as at:
            _take(browser, at.start().url, "empty")
        with situations.place() as at:
            _take(browser, situations.wrong_speech_key(at).app.url, "broken", row="unasked-operation")
        with situations.place() as at:
            _show_busy(browser, at)


def _show_busy(browser: Browser, at: Place) -> None:
    app = at.start({**OPEN, "BRIDGE_CALLBACK_KEEP_ANSWERS": "true", "SPEECH_REQUESTS_PER_SECOND": "100"})
    at.receiver.answer("/closed", then=Answer(status=401, body=b'{"error": "no Authorization header"}'))
    at.upstream.tell("intro-video", "Succeeded")
    at.upstream.tell("lost-video", always=named("not found (from the schema)"))
    for number in range(_BUSY):
        group = "short" if number % 3 else "long"
        body = {"operationId": f"earlier-{number:03d}", "callbackUrl": f"{at.receiver.url}/callback", "group": group}
        requests.post(f"{app.url}/api/registrations", json=body, timeout=30).raise_for_status()
    at.registered(app, "lost-video", f"{at.receiver.url}/callback")
    name = at.registered(app, "intro-video", f"{at.receiver.url}/closed", metadata={"video": "intro"})
    at.broken(app, name, situations.is_attempted)
    first = f"{app.url}/api/registrations?state=delivered&limit=100"
    app.lines.wait_for(lambda _: len(requests.get(first, timeout=30).json()["value"]) == 100, 120)
    _take(browser, app.url, "light", row="intro-video")
    _take(browser, app.url, "dark", row="intro-video", scheme="dark")
    _take(browser, app.url, "phone", row="intro-video", width=375, height=800)
    _take(browser, app.url, "busy")


def _take(
    browser: Browser,
    url: str,
    name: str,
    *,
    row: str = "",
    width: int = 1280,
    height: int = 900,
    scheme: Scheme = "light",
) -> None:
    with looking(browser, url, width=width, height=height, scheme=scheme) as page:
        is_ready(page)
        if row:
            _find(page, row)
        page.screenshot(path=FOLDER / f"{name}.png")


def _find(page: Page, operation_id: str) -> None:
    page.get_by_label("Operation id").fill(operation_id)
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#rows .id")).to_have_count(1)
    opened(page, operation_id)


if __name__ == "__main__":
    main()

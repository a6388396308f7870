"""Screenshots of the page for the README: `python -m tests.dashboard.screenshots`, from the started app."""

from pathlib import Path
from uuid import UUID

import requests
from playwright.sync_api import Browser, expect

from local.answer import Answer
from local.upstream.catalogue import named
from tests.dashboard.browser import Scheme, chromium, is_ready, looking
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
            broken = situations.wrong_speech_key(at)
            _take(browser, broken.app.url, "broken", view=f"#id={broken.name}")
        with situations.place() as at:
            _show_busy(browser, at)


def _show_busy(browser: Browser, at: Place) -> None:
    app = at.start({**OPEN, "BRIDGE_CALLBACK_KEEP_ANSWERS": "true", "SPEECH_REQUESTS_PER_SECOND": "100"})
    url = at.receiver.url
    at.receiver.answer("/closed", then=Answer(status=401, body=b'{"error": "no Authorization header"}'))
    at.receiver.answer("/overloaded", then=503)
    at.receiver.answer("/ended", then=410)
    at.upstream.script("lost-video", always=named("not found (from the schema)"))
    for number in range(_BUSY):
        group = "short" if number % 3 else "long"
        body = {"operationId": f"earlier-{number:03d}", "callbackUrl": f"{url}/callback", "group": group}
        requests.post(f"{app.url}/api/registrations", json=body, timeout=30).raise_for_status()
    at.registered(app, "lost-video", f"{url}/callback")
    names = []
    for path, count in (("ended", 1), ("overloaded", 2), ("closed", 3)):
        for number in range(count):
            operation_id = str(UUID(int=(count << 120) + 0x4A7C2E5B9D3F1A6080000000 + number, version=4))
            at.upstream.script(operation_id, "Succeeded")
            host = url.replace("127.0.0.1", "localhost") if path == "overloaded" else url
            names.append(at.registered(app, operation_id, f"{host}/{path}", metadata={"video": path}, group="short"))
    for name in names:
        at.broken(app, name, situations.is_attempted)
    first = f"{app.url}/api/registrations?state=delivered&limit=100"
    app.lines.wait_for(lambda _: len(requests.get(first, timeout=30).json()["value"]) == 100, 120)
    view = f"?state=pending,dead#id={names[-1]}"
    _take(browser, app.url, "light", view=view, height=1200)
    _take(browser, app.url, "dark", view=view, height=1200, scheme="dark")
    _take(browser, app.url, "phone", view=view, width=375, height=1600)
    _take(browser, app.url, "message", view=f"?operationId={names[-1].split('~')[1]}#id={names[-1]}", with_message=True)
    _take(browser, app.url, "busy", height=1200)


def _take(
    browser: Browser,
    url: str,
    name: str,
    *,
    view: str = "",
    width: int = 1280,
    height: int = 900,
    scheme: Scheme = "light",
    with_message: bool = False,
) -> None:
    with looking(browser, url, view=view, width=width, height=height, scheme=scheme) as page:
        is_ready(page)
        if with_message:
            page.get_by_text("Message: headers and payload").click()
            expect(page.locator(".payload")).to_be_visible()
            page.locator("#rows").scroll_into_view_if_needed()
            page.locator(".life").evaluate("element => element.scrollIntoView()")
        page.screenshot(path=FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()

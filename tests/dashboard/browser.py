"""A real browser: Debian's Chromium, driven by Playwright."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

#: Flags that stop all requests except those to the page's server.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: Milliseconds to wait for an element on a slow machine.
MAX_WAIT = 180_000

Scheme = Literal["light", "dark"]

#: The time of a fake clock.
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser."""
    expect.set_options(timeout=MAX_WAIT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_path(), args=_FLAGS)
        yield browser
        browser.close()


def _path() -> str:
    """Return the path of the browser. Install the browser if permitted."""
    if found := shutil.which("chromium"):
        return found
    if os.geteuid() != 0:
        raise RuntimeError("the tests of the page need a browser: apt-get install chromium")
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", "-qq", *command], check=True, capture_output=True)
    return shutil.which("chromium") or "/usr/bin/chromium"


@contextmanager
def looking(
    browser: Browser,
    url: str,
    *,
    key: str | None = None,
    view: str = "",
    width: int = 1280,
    height: int = 900,
    scheme: Scheme = "light",
    with_fake_clock: bool = False,
) -> Iterator[Page]:
    """Open the page in a new tab. `key` is stored as if entered before, and `view` is the query and fragment.

    A fake clock begins at NOW and moves only with `page.clock`.

    Raises AssertionError at the end after a script error or a violation of the policy.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_default_timeout(MAX_WAIT)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if _is_fault(line.type, line.text) else None)
    if key is not None:
        page.add_init_script(f"sessionStorage.setItem('bridge.key', '{key}')")
    if with_fake_clock:
        page.clock.install(time=NOW - timedelta(hours=1))
        page.clock.pause_at(NOW)
    page.goto(f"{url}/api/dashboard{view}")
    yield page
    context.close()
    assert faults == []


def _is_fault(kind: str, text: str) -> bool:
    """Return whether a console message is an error of the page, rather than the report of an error status."""
    return kind == "error" and not text.startswith("Failed to load resource")


def is_ready(page: Page) -> None:
    """Wait until all data was read once."""
    page.wait_for_selector("body[data-ready]")


def row_of(page: Page, operation_id: str) -> Locator:
    """Return the row of an operation."""
    return page.get_by_role("row").filter(has=page.get_by_role("button", name=operation_id, exact=True))


def state_of(page: Page, operation_id: str, state: str) -> None:
    """Wait until the table shows a registration in a state, in the words of the page."""
    expect(row_of(page, operation_id).locator(".state")).to_have_text(state)


def opened(page: Page, operation_id: str) -> str:
    """Open the row of an operation. Returns the history once an attempt or a poll appears."""
    row = page.get_by_role("button", name=operation_id, exact=True)
    row.click()
    expect(page.locator(".life")).to_be_visible()
    return page.locator(".detail").inner_text()


def copied(page: Page, button: str) -> str:
    """Click a button that copies a text, and return the text."""
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("button", name="copied")).to_be_visible()
    return str(page.evaluate("navigator.clipboard.readText()"))

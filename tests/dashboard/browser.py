"""A real browser: Debian's Chromium, driven by Playwright."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from playwright.sync_api import Browser, Page, expect, sync_playwright

#: Nothing is asked of anybody but the page's own server.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: Milliseconds that something may take to show on a slow machine.
MAX_WAIT = 60_000

Scheme = Literal["light", "dark"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start one."""
    expect.set_options(timeout=MAX_WAIT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_path(), args=_FLAGS)
        yield browser
        browser.close()


def _path() -> str:
    """Find it, or install it where that is allowed."""
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
    width: int = 1280,
    height: int = 900,
    scheme: Scheme = "light",
) -> Iterator[Page]:
    """Open the page in a tab of its own; with `key`, one that was entered before.

    Raises AssertionError at the end if a script failed or the policy was violated.
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
    page.goto(f"{url}/api/dashboard")
    yield page
    context.close()
    assert faults == []


def _is_fault(kind: str, text: str) -> bool:
    """Tell a fault of the page from what the browser says of an answer that is no success."""
    return kind == "error" and not text.startswith("Failed to load resource")


def is_ready(page: Page) -> None:
    """Wait until everything was read once."""
    page.wait_for_selector("body[data-ready]")


def opened(page: Page, operation_id: str) -> str:
    """Open the row of an operation, and read its history once an attempt or a poll is in it."""
    row = page.get_by_role("button", name=operation_id, exact=True)
    row.click()
    expect(page.locator(".life")).to_be_visible()
    return page.locator(".detail").inner_text()

"""An open row: its message, its attempts, and the actions on it."""

import json
import re
import socket
import threading
from typing import Any

import requests
from playwright.sync_api import Browser, Route, expect

from local.answer import Answer
from tests.dashboard.browser import copied, is_ready, looking, opened, row_of, state_of
from tests.dashboard.conftest import KEY, Site
from tests.hostile_receivers.receivers import living


def test_message_is_shown_and_copied_exactly(browser: Browser, site: Site) -> None:
    """Headers with a short signature, and indented JSON. Copying gives the bytes of the callback and whole headers."""
    site.at.upstream.script("has-a-message", "Succeeded")
    site.register("has-a-message", metadata={"large": 12345678901234567890, "empty": {}, "list": [1, "a:b,{}"]})
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        state_of(page, "has-a-message", "delivered")
        opened(page, "has-a-message")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/message") else None)
        page.get_by_text("Message: headers and payload").click()
        expect(page.locator(".payload")).to_contain_text(re.compile(r'\n +"large": 12345678901234567890,\n'))
        expect(page.locator(".payload")).to_contain_text(re.compile(r'"empty": \{\},\n'))
        expect(page.locator(".payload")).to_contain_text('"a:b,{}"')
        expect(page.locator(".headers")).to_contain_text(re.compile(r"webhook-signature: v1a?,\S{1,24}…"))
        page.get_by_role("button", name="Copy payload").click()
        expect(page.get_by_role("button", name="copied")).to_be_visible()
        payload = page.evaluate("navigator.clipboard.readText()")
        page.get_by_role("button", name="Copy headers").click()
        expect(page.get_by_role("button", name="copied").first).to_be_visible()
        page.wait_for_function("async () => (await navigator.clipboard.readText()).startsWith('webhook-')")
        headers = page.evaluate("navigator.clipboard.readText()")

        sent = next(each for each in site.at.receiver.callbacks if b"has-a-message" in each.body)
        assert payload.encode() == sent.body
        assert f"webhook-id: {sent.headers['webhook-id']}" in headers
        assert "…" not in headers
        assert len(asked) == 1


def test_registration_without_a_message_offers_none(browser: Browser, site: Site) -> None:
    site.at.upstream.script("no-message-yet", "Running")
    site.register("no-message-yet")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        opened(page, "no-message-yet")

        expect(page.get_by_text("Message: headers and payload")).to_have_count(0)


def test_equal_attempts_are_collapsed(browser: Browser, site: Site) -> None:
    """Ten attempts with two outcomes are four entries. The advice is given once for each outcome."""
    site.at.upstream.script("ten-attempts", "Succeeded")
    site.register("ten-attempts")
    body = json.dumps({"error": {"code": 500, "lines": [1, 2, 3, 4, 5]}})

    def attempt(number: int, status: int) -> dict[str, Any]:
        return {
            "number": number,
            "at": f"2026-11-23T12:{number:02d}:00.000Z",
            "durationMs": 5,
            "address": "127.0.0.1",
            "status": status,
            "error": None,
            "detail": None,
            "location": None,
            "body": body,
        }

    def answer(route: Route) -> None:
        response = route.fetch()
        attempts = [*(attempt(number, 500) for number in range(1, 10)), attempt(10, 401)]
        route.fulfill(response=response, json={**response.json(), "attempts": attempts})

    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.route(re.compile("/api/registrations/default~ten-attempts~[0-9a-f]+$"), answer)
        output = opened(page, "ten-attempts")
        life = page.locator(".life")
        expect(life).to_contain_text(re.compile("Attempts 2.9: the same"))
        expect(life).to_contain_text("Attempt 10: HTTP 401")
        expect(life.get_by_text("The receiver failed.")).to_have_count(1)
        assert "Attempt 5" not in output
        expect(life.locator("pre").first).to_have_text('{\n  "error": {\n    "code": 500,\n    "lines": [\n      1,\n…')
        life.get_by_text("times").click()

        expect(life.get_by_text(re.compile("^Attempt 5 "))).to_be_visible()


def answer_without_tls(connection: socket.socket, _: threading.Event) -> None:
    """Answer in plain HTTP."""
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connection.recv(65_536)


def test_reason_of_a_tls_failure_and_target_of_a_redirect_are_shown(browser: Browser, site: Site) -> None:
    site.at.receiver.answer("/moved", then=Answer(status=302, headers={"Location": "https://hooks.example.com/new"}))
    site.at.upstream.script("redirected", "Succeeded")
    site.at.upstream.script("not-tls", "Succeeded")
    site.register("redirected", f"{site.at.receiver.url}/moved")
    with living(answer_without_tls) as port, looking(browser, site.url, key=KEY) as page:
        site.register("not-tls", f"https://127.0.0.1:{port}/callback")
        is_ready(page)
        state_of(page, "redirected", "retrying")
        opened(page, "redirected")
        expect(page.locator(".life")).to_contain_text("HTTP 302")
        expect(page.locator(".life")).to_contain_text("to https://hooks.example.com/new")
        page.get_by_role("button", name="redirected", exact=True).click()
        state_of(page, "not-tls", "retrying")
        opened(page, "not-tls")

        expect(page.locator(".life")).to_contain_text("TLS failed")
        expect(page.locator(".life")).to_contain_text("the port does not speak TLS: check scheme and port")


def test_next_attempt_that_is_due_is_now(browser: Browser, site: Site) -> None:
    """Its time is past until a sweep sends it."""
    site.at.upstream.script("due-attempt", "Running")
    site.register("due-attempt")

    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(json={**response.json(), "state": "pending", "nextAttemptAt": "2026-11-23T12:00:00.000Z"})

    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.route(re.compile("/api/registrations/default~due-attempt~[0-9a-f]+$"), answer)
        opened(page, "due-attempt")

        expect(page.locator(".life li").last).to_have_text("nowNext attempt")


def test_pending_delivery_is_tried_at_once(browser: Browser, site: Site) -> None:
    """The receiver is mended while the next attempt is minutes away."""
    site.at.receiver.answer("/mended", 500, 500, then=204)
    site.at.upstream.script("try-it-now", "Succeeded")
    site.register("try-it-now", f"{site.at.receiver.url}/mended")
    with looking(browser, site.url, key=KEY, view="?operationId=try-it-now") as page:
        is_ready(page)
        expect(row_of(page, "try-it-now").locator(".note")).to_have_text(
            re.compile(r"^HTTP 500, 2 of 10, next in \d+ min")
        )
        opened(page, "try-it-now")
        page.get_by_role("button", name="Try now").click()

        state_of(page, "try-it-now", "delivered")
        expect(page.locator(".life")).to_contain_text("Attempt 3: HTTP 204")
        expect(page.get_by_role("button", name="Try now")).to_have_count(0)


def test_cancel_asks_first(browser: Browser, site: Site) -> None:
    """Without the confirmation nothing happens. The curl command contains no key."""
    site.at.upstream.script("to-be-canceled", "Running")
    name = site.register("to-be-canceled")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        opened(page, "to-be-canceled")
        command = copied(page, "Copy as curl")
        page.get_by_role("button", name="Cancel …").click()
        dialog = page.get_by_role("dialog", name="Cancel the callback?")
        expect(dialog).to_contain_text("To get it after all, register again.")
        dialog.get_by_role("button", name="No, go back").click()
        expect(dialog).to_have_count(0)
        shown = requests.get(
            f"{site.url}/api/registrations/{name}", headers={"x-functions-key": KEY}, timeout=30
        ).json()
        assert shown["state"] == "waiting"
        page.get_by_role("button", name="Cancel …").click()
        dialog.get_by_role("button", name="Cancel the callback").click()

        state_of(page, "to-be-canceled", "canceled")
    assert command == f"curl -sS -X GET '{site.url}/api/registrations/{name}' -H \"x-functions-key: $BRIDGE_KEY\""


def test_delivered_callback_is_delivered_again_after_a_confirmation(browser: Browser, site: Site) -> None:
    """The row has a button for each possible action only."""
    site.at.upstream.script("to-be-repeated", "Succeeded")
    site.register("to-be-repeated")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        state_of(page, "to-be-repeated", "delivered")
        opened(page, "to-be-repeated")
        expect(page.get_by_role("button", name="Cancel …")).to_have_count(0)
        page.get_by_role("button", name="Deliver again …").click()
        page.get_by_role("dialog").get_by_role("button", name="Deliver again").click()

        expect(page.locator(".life")).to_contain_text("Attempt 2: the same")


def test_ended_registration_is_erased_after_a_confirmation(browser: Browser, site: Site) -> None:
    site.at.upstream.script("to-be-erased", "Succeeded")
    name = site.register("to-be-erased")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        state_of(page, "to-be-erased", "delivered")
        opened(page, "to-be-erased")
        page.get_by_role("button", name="Erase …").click()
        page.get_by_role("dialog", name="Erase the registration?").get_by_role("button", name="Erase").click()

        expect(page.get_by_role("button", name="to-be-erased", exact=True)).to_have_count(0)
        expect(page.locator("#trouble")).to_be_empty()
    answer = requests.get(f"{site.url}/api/registrations/{name}", headers={"x-functions-key": KEY}, timeout=30)
    assert answer.status_code == 404

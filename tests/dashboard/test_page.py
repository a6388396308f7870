"""The page, in a real browser, over the started app: from an empty start to a delivered callback."""

import json
import re
from typing import Any

import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from local.answer import Answer
from tests.dashboard.browser import is_ready, looking, opened
from tests.dashboard.conftest import KEY, Site

HOSTILE = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>{{7*7}}'


def violations(page: Page) -> list[str]:
    """Return the violations that axe finds."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


def state_of(page: Page, operation_id: str, state: str) -> None:
    """Wait until the table shows a registration in a state."""
    row = page.get_by_role("row").filter(has=page.get_by_role("button", name=operation_id, exact=True))
    expect(row.locator(".state")).to_have_text(state)


def test_key_is_requested_once_and_kept_for_the_tab(browser: Browser, site: Site) -> None:
    """A wrong key gives an error. The right key survives a reload, is in no address, and can be forgotten."""
    with looking(browser, site.url) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.get_by_label("Key", exact=True).fill("wrong")
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_text("It was not accepted.")).to_be_visible()

        page.get_by_label("Key", exact=True).fill(KEY)
        page.get_by_role("button", name="Enter").click()
        is_ready(page)
        page.reload()
        is_ready(page)
        page.get_by_role("button", name="Forget the key").click()
        expect(page.get_by_role("dialog", name="Enter the key")).to_be_visible()

        assert [url for url in asked if KEY in url or "wrong" in url] == []
        assert {re.sub(r"^(https?://[^/]+)/.*", r"\1", url) for url in asked} == {site.url}


def test_empty_page_shows_the_first_steps(browser: Browser, site: Site) -> None:
    """The page shows a form, a call to copy, and the receiver of a local start."""
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.get_by_role("search").get_by_label("Operation id").fill("no-such-operation")
        page.get_by_role("button", name="Find").click()

        expect(page.get_by_text("No registration of an operation “no-such-operation”.")).to_be_visible()


def test_page_shows_no_query_of_a_callback_url(browser: Browser, site: Site) -> None:
    """The owner's API answers contain the query, but other people can look at a page."""
    for operation_id in ("with-a-secret-url", "with-another"):
        site.at.upstream.tell(operation_id, "Running")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.get_by_role("button", name="Register", exact=True).click()
        dialog = page.get_by_role("dialog", name="Register a callback")
        dialog.get_by_label("Operation id").fill("with-a-secret-url")
        dialog.get_by_label("Callback URL").fill(f"{site.callback_url}?code=canary")
        dialog.get_by_role("button", name="Register", exact=True).click()
        expect(dialog.get_by_text("Registered: with-a-secret-url")).to_be_visible()
        page.keyboard.press("Escape")
        site.register("with-another", f"{site.callback_url}?code=canary-too")
        page.reload()
        is_ready(page)
        page.get_by_role("button", name="with-another", exact=True).click()
        page.get_by_role("button", name="with-a-secret-url", exact=True).click()

        expect(page.get_by_text(f"for {site.callback_url}?…")).to_have_count(2)
        assert "canary" not in page.content()
        assert "canary" not in json.dumps(page.evaluate("[...list.entries, ...list.open.values()]"))


def test_from_the_form_to_a_delivered_callback(browser: Browser, site: Site) -> None:
    """The page registers, the bridge delivers, and the page shows the result."""
    site.at.upstream.tell("from-the-form", "Succeeded")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.get_by_role("button", name="Register", exact=True).click()
        dialog = page.get_by_role("dialog", name="Register a callback")
        dialog.get_by_label("Operation id").fill("from-the-form")
        dialog.get_by_label("Callback URL").fill(site.callback_url)
        dialog.get_by_text("More").click()
        dialog.get_by_label("Metadata").fill('{"video": "intro"}')
        dialog.get_by_role("button", name="Register").click()
        expect(dialog.get_by_text("verify with the secret whsec_")).to_be_visible()
        page.keyboard.press("Escape")

        state_of(page, "from-the-form", "delivered")
        expect(page.locator(".life")).to_contain_text("The operation is Succeeded")
        expect(page.locator(".life")).to_contain_text(re.compile(r"Attempt 1: HTTP 204 after \d+ ms at 127\.0\.0\.1"))
    received: list[Any] = [each.content for each in site.at.receiver.callbacks]
    assert [each["data"]["metadata"] for each in received] == [{"video": "intro"}]


def test_numbers_in_metadata_are_sent_and_shown_as_typed(browser: Browser, site: Site) -> None:
    """JavaScript numbers would round them."""
    site.at.upstream.tell("large-numbers", "Succeeded")
    metadata = '{"id":12345678901234567890,"list":[9007199254740993,-1,0.5],"text":"9007199254740993","metadata":1}'
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.get_by_role("button", name="Register", exact=True).click()
        dialog = page.get_by_role("dialog", name="Register a callback")
        dialog.get_by_label("Operation id").fill("large-numbers")
        dialog.get_by_label("Callback URL").fill(site.callback_url)
        dialog.get_by_text("More").click()
        dialog.get_by_label("Metadata").fill(metadata)
        dialog.get_by_role("button", name="Register").click()
        expect(dialog.get_by_text("verify with the secret whsec_")).to_be_visible()
        page.keyboard.press("Escape")

        state_of(page, "large-numbers", "delivered")
        expect(page.get_by_text(f"metadata {metadata}")).to_be_visible()
    received: Any = site.at.receiver.callbacks[-1].content
    assert received["data"]["metadata"] == json.loads(metadata)


def test_wrong_fields_are_shown_in_the_form(browser: Browser, site: Site) -> None:
    """All errors appear, with the bridge's messages. Invalid JSON is not sent."""
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.get_by_role("button", name="Register", exact=True).click()
        dialog = page.get_by_role("dialog", name="Register a callback")
        dialog.get_by_label("Operation id").fill("!")
        dialog.get_by_label("Callback URL").fill("ftp://hooks.example.com/")
        dialog.get_by_role("button", name="Register").click()
        expect(dialog.get_by_role("status")).to_contain_text("operationId:")
        expect(dialog.get_by_role("status")).to_contain_text("callbackUrl:")
        dialog.get_by_text("More").click()
        dialog.get_by_label("Metadata").fill("{")
        dialog.get_by_role("button", name="Register").click()

        expect(dialog.get_by_role("status")).to_have_text("Metadata is not JSON.")


def test_a_row_can_cancel_and_redeliver(browser: Browser, site: Site) -> None:
    """The row has a button for each possible action only. The curl command contains no key."""
    site.at.upstream.tell("to-be-canceled", "Running")
    site.at.upstream.tell("to-be-repeated", "Succeeded")
    name = site.register("to-be-canceled")
    site.register("to-be-repeated")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        opened(page, "to-be-canceled")
        page.get_by_role("button", name="Copy as curl").click()
        expect(page.get_by_role("button", name="copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        page.get_by_role("button", name="Cancel", exact=True).click()
        state_of(page, "to-be-canceled", "canceled")
        page.get_by_role("button", name="to-be-canceled", exact=True).click()

        state_of(page, "to-be-repeated", "delivered")
        opened(page, "to-be-repeated")
        expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
        page.get_by_role("button", name="Deliver again").click()
        expect(page.locator(".life")).to_contain_text("Attempt 2: HTTP 204")
    assert copied == f"curl -sS -X GET '{site.url}/api/registrations/{name}' -H \"x-functions-key: $BRIDGE_KEY\""


def test_ping_shows_the_answer(browser: Browser, site: Site) -> None:
    """The page shows the start of the answer and the meaning of the status."""
    site.at.receiver.answer("/closed", then=Answer(status=401, body=b"who are you?"))
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.get_by_role("button", name="Ping").click()
        dialog = page.get_by_role("dialog", name="Ping a URL")
        dialog.get_by_label("Callback URL").fill(f"{site.at.receiver.url}/closed")
        dialog.get_by_role("button", name="Send").click()

        expect(dialog.get_by_role("status")).to_contain_text("HTTP 401")
        expect(dialog.get_by_role("status")).to_contain_text("The receiver requires credentials")


def test_dead_registrations_of_a_host_are_redelivered(browser: Browser, site: Site) -> None:
    """One click repeats all, for example after an outage. The filter shows dead registrations only."""
    site.at.receiver.answer("/gone", 410, then=204)
    site.at.upstream.tell("died-of-410", "Succeeded")
    site.register("died-of-410", f"{site.at.receiver.url}/gone")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.locator("#counts").get_by_role("button", name=re.compile("dead")).click()
        state_of(page, "died-of-410", "dead")
        assert "The receiver wants no more callbacks there." in opened(page, "died-of-410")
        page.get_by_role("button", name="Redeliver dead").click()
        dialog = page.get_by_role("dialog", name="Deliver the dead again")
        dialog.get_by_label("Host").fill(f"127.0.0.1:{site.at.receiver.port}")
        dialog.get_by_role("button", name="Deliver again").click()
        expect(dialog.get_by_role("status")).to_have_text("Started: 1 delivery.")
        page.keyboard.press("Escape")

        expect(page.get_by_text("No registration is dead.")).to_be_visible()
        page.locator("#counts").get_by_role("button", name="registrations all").click()
        state_of(page, "died-of-410", "delivered")


def test_outside_data_is_shown_as_text(browser: Browser, site: Site) -> None:
    """Each field with data of clients, receivers or Speech is shown as text."""
    site.at.receiver.answer("/hostile", then=Answer(status=500, body=HOSTILE.encode()))
    site.at.upstream.tell("hostile-receiver", "Succeeded")
    fault = json.dumps({"error": {"code": HOSTILE, "message": HOSTILE}}).encode()
    site.at.upstream.tell("hostile-speech", always=Answer(status=500, body=fault))
    url = f"{site.at.receiver.url}/hostile?q='\"><script>window.hacked=1</script>"
    site.register("hostile-receiver", url, metadata={HOSTILE: HOSTILE}, group="a.b-c_d")
    site.register("hostile-speech", url, metadata={HOSTILE: [HOSTILE]})
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        opened(page, "hostile-receiver")
        expect(page.locator(".detail pre")).to_contain_text("<img src=x onerror=")
        expect(page.locator(".detail")).to_contain_text("{{7*7}}")
        page.get_by_role("button", name="hostile-receiver", exact=True).click()
        opened(page, "hostile-speech")
        expect(page.locator(".detail pre")).to_contain_text("HTTP 500")

        assert page.evaluate("window.hacked") is None
        assert page.locator("main img, main script").count() == 0


def test_keyboard_works_and_focus_survives_a_refresh(browser: Browser, site: Site) -> None:
    """Enter opens a row. Focus survives a refresh."""
    site.at.upstream.tell("by-keyboard", "Running")
    site.register("by-keyboard")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        row = page.get_by_role("button", name="by-keyboard", exact=True)
        for _ in range(40):
            page.keyboard.press("Tab")
            if row.evaluate("element => element === document.activeElement"):
                break
        page.keyboard.press("Enter")
        expect(page.locator(".life")).to_be_visible()
        with page.expect_response(re.compile("/api/status")):
            site.at.upstream.tell("by-keyboard", "Succeeded")
        state_of(page, "by-keyboard", "delivered")
        expect(row).to_be_focused()


def test_phone_has_no_horizontal_scrolling(browser: Browser, site: Site) -> None:
    """The width is 375 pixels, with an open row and with a dialog."""
    site.at.upstream.tell("on-the-phone", "Succeeded")
    site.register("on-the-phone", f"{site.callback_url}/{'long' * 100}")
    with looking(browser, site.url, key=KEY, width=375, height=800) as page:
        is_ready(page)
        opened(page, "on-the-phone")
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        page.get_by_role("button", name="Register", exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_axe_finds_no_violation(browser: Browser, site: Site) -> None:
    """Checked in light and dark, with an open row and with a dialog."""
    site.at.upstream.tell("looked-at-by-axe", "Succeeded")
    site.register("looked-at-by-axe")
    for scheme in ("light", "dark"):
        with looking(browser, site.url, key=KEY, scheme=scheme) as page:
            is_ready(page)
            state_of(page, "looked-at-by-axe", "delivered")
            opened(page, "looked-at-by-axe")
            assert violations(page) == []
            page.get_by_role("button", name="Register", exact=True).click()
            page.get_by_role("dialog").get_by_text("More").click()
            assert violations(page) == []


def test_page_shows_a_failed_refresh_until_one_succeeds(browser: Browser, site: Site) -> None:
    """The data remains, marked as old."""
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.context.set_offline(True)
        expect(page.get_by_role("alert")).to_contain_text("The bridge cannot be reached.")
        expect(page.get_by_role("alert")).to_contain_text("The data may be out of date. The page keeps trying.")
        page.context.set_offline(False)
        expect(page.get_by_role("alert")).to_be_empty()


def test_page_is_public_and_allows_only_its_script(site: Site) -> None:
    """A policy lists the hashes of the scripts, other sites cannot frame the page, and a repeated request gets 304."""
    first = requests.get(f"{site.url}/api/dashboard", timeout=30)
    again = requests.get(f"{site.url}/api/dashboard", headers={"If-None-Match": first.headers["ETag"]}, timeout=30)

    policy = dict(each.split(" ", 1) for each in first.headers["Content-Security-Policy"].split("; "))
    assert (first.status_code, again.status_code) == (200, 304)
    assert (policy["default-src"], policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'", "'none'")
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", policy["script-src"])
    assert "unsafe" not in first.headers["Content-Security-Policy"]
    assert first.headers["Content-Type"] == "text/html; charset=utf-8"

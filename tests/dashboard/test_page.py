"""The page, in a real browser, over the started app: from an empty start to a delivered callback."""

import json
import re
from typing import Any
from urllib.parse import urlsplit

import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from local.answer import Answer
from tests.dashboard.browser import is_ready, looking, opened, state_of
from tests.dashboard.conftest import KEY, Site

HOSTILE = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>{{7*7}}'


def violations(page: Page) -> list[str]:
    """Return the violations that axe finds."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


def test_key_is_requested_once_and_kept_for_the_tab(browser: Browser, site: Site) -> None:
    """A wrong key gives an error. The right key survives a reload, is in no address, and can be forgotten."""
    with looking(browser, site.url) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.get_by_label("Key", exact=True).fill("wrong")
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_text("This key was refused (401).")).to_be_visible()

        page.get_by_label("Key", exact=True).fill(KEY)
        page.get_by_role("button", name="Enter").click()
        is_ready(page)
        page.reload()
        is_ready(page)
        page.get_by_role("button", name="Forget the key").click()
        expect(page.get_by_role("dialog", name="Enter the key")).to_be_visible()

        assert [url for url in asked if KEY in url or "wrong" in url] == []
        assert {re.sub(r"^(https?://[^/]+)/.*", r"\1", url) for url in asked} == {site.url}


def test_sign_in_shows_the_command_for_this_app_and_nothing_behind(browser: Browser, site: Site) -> None:
    """The name of the app comes from the page's host. Without data, no control is visible."""

    def relay(route: Route) -> None:
        answer = requests.get(f"{site.url}{urlsplit(route.request.url).path}", timeout=30)
        route.fulfill(status=answer.status_code, headers=dict(answer.headers), body=answer.content)

    with looking(browser, site.url) as page:
        expect(page.get_by_role("dialog").locator("pre")).to_contain_text("-n {app} -g {resource group}")
        page.route(re.compile("azurewebsites"), relay)
        for host in ("my-app.azurewebsites.net", "my-app-a1b2c3d4e5f6a7b8.eastus-01.azurewebsites.net"):
            page.goto(f"https://{host}/api/dashboard")

            expect(page.get_by_role("dialog").locator("pre")).to_contain_text("az functionapp keys list -n my-app -g")
            expect(page.get_by_role("dialog").locator("pre")).to_contain_text("[?name=='my-app'].resourceGroup")
            assert page.locator("main select:visible").count() == 0


def test_page_shows_no_query_of_a_callback_url(browser: Browser, site: Site) -> None:
    """The owner's API answers contain the query, but other people can look at a page."""
    for operation_id in ("with-a-secret-url", "with-another"):
        site.at.upstream.script(operation_id, "Running")
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

        expect(page.get_by_text(f"for {site.callback_url}?…")).to_have_count(2)
        assert "canary" not in page.content()
        assert "canary" not in json.dumps(page.evaluate("[...list.entries, ...list.open.values()]"))


def test_from_the_form_to_a_delivered_callback(browser: Browser, site: Site) -> None:
    """The page registers, the bridge delivers, and the page shows the result."""
    site.at.upstream.script("from-the-form", "Succeeded")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.get_by_role("button", name="Register", exact=True).click()
        dialog = page.get_by_role("dialog", name="Register a callback")
        dialog.get_by_label("Operation id").fill("from-the-form")
        dialog.get_by_label("Callback URL").fill(site.callback_url)
        dialog.get_by_text("More").click()
        dialog.get_by_label("Metadata").fill('{"video": "intro"}')
        dialog.get_by_role("button", name="Register").click()
        expect(dialog.get_by_text("verify with this secret")).to_be_visible()
        expect(dialog.locator("code")).to_have_text("whsec_" + "•" * 12)
        dialog.get_by_role("button", name="Show").click()
        expect(dialog.locator("code")).to_have_text(re.compile(r"whsec_[\w+/=]{40,}"))
        page.keyboard.press("Escape")

        state_of(page, "from-the-form", "delivered")
        expect(page.locator(".life")).to_contain_text("The operation is Succeeded")
        expect(page.locator(".life")).to_contain_text(re.compile(r"Attempt 1: HTTP 204 after \d+ ms at 127\.0\.0\.1"))
    received: list[Any] = [each.content for each in site.at.receiver.callbacks if b"from-the-form" in each.body]
    assert [each["data"]["metadata"] for each in received] == [{"video": "intro"}]


def test_numbers_in_metadata_are_sent_and_shown_as_typed(browser: Browser, site: Site) -> None:
    """JavaScript numbers would round them."""
    site.at.upstream.script("large-numbers", "Succeeded")
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
        expect(dialog.get_by_text("verify with this secret")).to_be_visible()
        page.keyboard.press("Escape")

        state_of(page, "large-numbers", "delivered")
        expect(page.get_by_text(f"metadata {metadata}")).to_be_visible()
    received: Any = site.at.receiver.callbacks[-1].content
    assert received["data"]["metadata"] == json.loads(metadata)


def test_wrong_fields_are_marked_in_the_form(browser: Browser, site: Site) -> None:
    """Each error is beside its field, with the bridge's message. Invalid JSON is not sent."""
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.get_by_role("button", name="Register", exact=True).click()
        dialog = page.get_by_role("dialog", name="Register a callback")
        expect(dialog.get_by_label("Callback URL")).to_have_value(re.compile(r"http://127\.0\.0\.1:\d+/callback"))
        dialog.get_by_label("Operation id").fill("!")
        dialog.get_by_label("Callback URL").fill("ftp://hooks.example.com/")
        dialog.get_by_text("More").click()
        dialog.get_by_label("Headers").fill('{"Host": "a"}')
        dialog.get_by_text("More").click()
        dialog.get_by_role("button", name="Register").click()
        errors = {
            name: dialog.locator(f'[data-field="{name}"] [role=alert]') for name in ("operationId", "callbackUrl")
        }
        expect(errors["operationId"]).to_have_text(re.compile("letters"))
        expect(errors["callbackUrl"]).to_have_text(re.compile("http"))
        expect(dialog.locator('[data-field="headers"] [role=alert]')).to_contain_text("Host: ")
        expect(dialog.get_by_label("Headers")).to_be_visible()
        expect(dialog.get_by_label("Operation id")).to_be_focused()
        expect(dialog.get_by_role("status")).to_have_text("Correct the marked fields.")
        dialog.get_by_label("Metadata").fill("{")
        dialog.get_by_role("button", name="Register").click()

        expect(dialog.locator('[data-field="metadata"] [role=alert]')).to_have_text("Is not JSON")
        expect(errors["operationId"]).to_be_empty()


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


def test_outside_data_is_shown_as_text(browser: Browser, site: Site) -> None:
    """Each field with data of clients, receivers or Speech is shown as text."""
    site.at.receiver.answer("/hostile", then=Answer(status=500, body=HOSTILE.encode()))
    site.at.upstream.script("hostile-receiver", "Succeeded")
    fault = json.dumps({"error": {"code": HOSTILE, "message": HOSTILE}}).encode()
    site.at.upstream.script("hostile-speech", always=Answer(status=500, body=fault))
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
    site.at.upstream.script("by-keyboard", "Running")
    site.register("by-keyboard")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        row = page.get_by_role("button", name="by-keyboard", exact=True)
        for _ in range(80):
            page.keyboard.press("Tab")
            if row.evaluate("element => element === document.activeElement"):
                break
        page.keyboard.press("Enter")
        expect(page.locator(".life")).to_be_visible()
        with page.expect_response(re.compile("/api/status")):
            site.at.upstream.script("by-keyboard", "Succeeded")
        state_of(page, "by-keyboard", "delivered")
        expect(row).to_be_focused()


def test_phone_has_no_horizontal_scrolling(browser: Browser, site: Site) -> None:
    """The width is 375 pixels, with long names, faults, filters, an open row with its message, and a dialog."""
    operation_id = f"on-the-phone-{'long' * 12}"
    site.at.receiver.answer(f"/{'long' * 100}", then=401)
    site.at.upstream.script(operation_id, "Succeeded")
    site.register(operation_id, f"{site.at.receiver.url}/{'long' * 100}", group="g" * 64)
    with looking(browser, site.url, key=KEY, width=375, height=800, view=f"?group={'g' * 64}&state=pending") as page:
        is_ready(page)
        state_of(page, operation_id, "retrying")
        page.reload()  # faults are counted once a minute
        is_ready(page)
        opened(page, operation_id)
        page.get_by_text("Message: headers and payload").click()
        expect(page.locator(".payload")).to_contain_text(operation_id)
        expect(page.locator("#broken")).to_contain_text("HTTP 401")
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        page.get_by_role("button", name="Register", exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_axe_finds_no_violation(browser: Browser, site: Site) -> None:
    """Checked in light and dark: faults, filters, open rows with their messages, and each dialog."""
    site.at.receiver.answer("/closed", then=Answer(status=401, body=b'{"a": [1, 2, 3], "b": {"c": 4}}'))
    site.at.upstream.script("looked-at-by-axe", "Succeeded")
    site.register("looked-at-by-axe")
    site.register("looked-at-by-axe", f"{site.at.receiver.url}/closed")
    for scheme in ("light", "dark"):
        with looking(browser, site.url, scheme=scheme) as page:
            expect(page.get_by_role("dialog", name="Enter the key")).to_be_visible()
            assert violations(page) == []
        with looking(browser, site.url, key=KEY, scheme=scheme, view="?operationId=looked-at-by-axe") as page:
            is_ready(page)
            expect(page.locator(".state.retrying")).to_be_visible()
            page.reload()  # faults are counted once a minute
            expect(page.locator("#broken")).to_contain_text("HTTP 401")
            for state in ("delivered", "retrying"):
                row = page.locator("#rows tr.entry").filter(has=page.locator(f".state.{state}"))
                row.locator(".id").click()
            for number, message in enumerate(page.get_by_text("Message: headers and payload").all(), 1):
                message.click()
                expect(page.locator(".payload")).to_have_count(number)
            page.get_by_text("Polling schedule").click()
            assert violations(page) == []
            page.get_by_role("button", name="Cancel …").click()
            assert violations(page) == []
            page.keyboard.press("Escape")
            page.get_by_role("button", name="Redeliver many").click()
            page.get_by_role("button", name="Preview").click()
            expect(page.get_by_role("dialog").get_by_role("status")).to_contain_text("deliver")
            assert violations(page) == []
            page.keyboard.press("Escape")
            page.get_by_role("button", name="Register", exact=True).click()
            page.get_by_role("dialog").get_by_text("More").click()
            page.get_by_label("Metadata").fill("{")
            page.get_by_role("dialog").get_by_label("Operation id").fill("looked-at-by-axe")
            page.get_by_role("dialog").get_by_role("button", name="Register").click()
            expect(page.get_by_text("Is not JSON")).to_be_visible()
            assert violations(page) == []


def test_page_shows_a_failed_refresh_until_one_succeeds(browser: Browser, site: Site) -> None:
    """The data remains, marked as old."""
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.context.set_offline(True)
        expect(page.locator("#trouble")).to_contain_text("The bridge cannot be reached.")
        expect(page.locator("#trouble")).to_contain_text("The data may be out of date. The page keeps trying.")
        page.context.set_offline(False)
        expect(page.locator("#trouble")).to_be_empty()


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

"""The list: its rows, filters, search box, and an address for each view."""

import re
from uuid import uuid4

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from bridge.domain.outcome import Failure
from tests.dashboard.browser import copied, is_ready, looking, opened, row_of, state_of
from tests.dashboard.conftest import KEY, Site


def entries(site: Site, query: str) -> list[dict[str, object]]:
    """Read a list by the API."""
    answer = requests.get(f"{site.url}/api/registrations?{query}", headers={"x-functions-key": KEY}, timeout=30)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["value"])


def ids(page: Page) -> set[str]:
    """Return the operation ids of the list."""
    return set(page.locator("#rows .id").all_inner_texts())


def colour(page: Page, selector: str) -> str:
    """Return the computed text colour."""
    return str(page.locator(selector).first.evaluate("element => getComputedStyle(element).color"))


def has_colour(page: Page, selector: str, expected: str) -> None:
    """Wait for the computed text colour: the page can replace an element while a test reads the style."""
    expect(page.locator(selector).first).to_have_css("color", expected)


def test_failing_delivery_is_retrying_on_the_page_and_in_the_api(browser: Browser, site: Site) -> None:
    """The row is amber, with outcome, attempt and next time. The API has the same in `lastAttempt`."""
    site.at.receiver.answer("/locked", then=401)
    site.at.upstream.script("fails-with-401", "Succeeded")
    site.register("fails-with-401", f"{site.at.receiver.url}/locked")
    with looking(browser, site.url, key=KEY, view="?operationId=fails-with-401") as page:
        is_ready(page)
        state_of(page, "fails-with-401", "retrying")
        note = row_of(page, "fails-with-401").locator(".note")
        expect(note).to_have_text(re.compile(r"^HTTP 401, [12] of 10, next (now|in \d+ (s|min))$"))
        [entry] = entries(site, "operationId=fails-with-401")

        assert entry["state"] == "pending"
        last = entry["lastAttempt"]
        assert isinstance(last, dict)
        assert (last["status"], last["error"], last["of"]) == (401, None, 10)
        has_colour(page, ".note.retrying", "rgb(138, 75, 0)")
        has_colour(page, ".state.retrying", "rgb(138, 75, 0)")


def test_a_job_is_found_by_its_registration_beside_an_operation_of_the_same_id(browser: Browser, site: Site) -> None:
    site.register("known-as-both")
    answer = requests.post(
        f"{site.url}/api/registrations",
        json={"jobId": "known-as-both", "callbackUrl": site.callback_url},
        headers={"x-functions-key": KEY},
        timeout=30,
    )
    job = str(answer.json()["id"])

    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.get_by_role("search").get_by_role("searchbox").fill(job)
        page.get_by_role("button", name="Find").click()

        expect(page).to_have_url(re.compile("jobId=known-as-both"))
        expect(row_of(page, "known-as-both")).to_have_count(1)


def test_failed_is_red_delivered_is_green_and_polling_is_calm(browser: Browser, site: Site) -> None:
    """The API's name of the state is in the title."""
    site.at.receiver.answer("/ended", then=410)
    for operation_id, status in (("is-delivered", "Succeeded"), ("is-failed", "Succeeded"), ("is-polling", "Running")):
        site.at.upstream.script(operation_id, status)
        site.register(operation_id, f"{site.at.receiver.url}/{'ended' if operation_id == 'is-failed' else 'callback'}")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        state_of(page, "is-delivered", "delivered")
        state_of(page, "is-failed", "failed")
        state_of(page, "is-polling", "polling")

        expect(row_of(page, "is-failed").locator(".note")).to_have_text("HTTP 410, 1 of 10: the receiver wants no more")
        expect(row_of(page, "is-failed").locator(".state")).to_have_attribute("title", "dead")
        has_colour(page, ".state.delivered", "rgb(30, 107, 58)")
        has_colour(page, ".state.dead", "rgb(179, 38, 30)")
        has_colour(page, ".state.waiting", colour(page, "body"))


def test_a_whole_row_opens_it_and_the_id_fits_in_one_line(browser: Browser, site: Site) -> None:
    """A click beside the id opens and closes the row. A real operation id has 36 characters."""
    operation_id = str(uuid4())
    site.at.upstream.script(operation_id, "Running")
    site.register(operation_id)
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        toggle = page.get_by_role("button", name=operation_id, exact=True)
        row = row_of(page, operation_id)

        assert toggle.evaluate("element => element.getBoundingClientRect().height") < 25
        assert toggle.evaluate("element => getComputedStyle(element).color") == "rgb(31, 95, 191)"
        row.locator(".to").click()
        expect(page.locator(".life")).to_be_visible()
        expect(toggle).to_have_attribute("aria-expanded", "true")
        row.locator(".updated").click()
        expect(page.locator(".life")).to_have_count(0)


def test_each_filter_narrows_the_list_and_can_be_removed(browser: Browser, site: Site) -> None:
    """State, host, outcome, group and time combine. Each active filter has a button that removes it."""
    site.at.receiver.answer("/busy", then=503)
    for operation_id, path, group in (
        ("filter-a", "busy", "one"),
        ("filter-b", "busy", "two"),
        ("filter-c", "ok", "one"),
    ):
        site.at.upstream.script(operation_id, "Succeeded")
        site.register(operation_id, f"{site.at.receiver.url}/{path}", group=group)
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        state_of(page, "filter-a", "retrying")
        state_of(page, "filter-b", "retrying")
        filters = page.get_by_role("form", name="Filters")
        filters.get_by_label("Outcome").select_option("503")
        expect(page.get_by_role("button", name="Remove the filter: HTTP 503")).to_be_visible()
        expect(page.get_by_role("button", name="filter-c", exact=True)).to_have_count(0)
        assert ids(page) == {"filter-a", "filter-b"}
        filters.get_by_label("Group").fill("one")
        filters.get_by_label("Group").press("Enter")
        expect(page.get_by_role("button", name="filter-b", exact=True)).to_have_count(0)
        filters.get_by_label("Since").select_option("3600")
        filters.get_by_label("Host").fill(f"http://127.0.0.1:{site.at.receiver.port}/callback")
        filters.get_by_label("Host").press("Enter")
        page.locator("#counts").get_by_role("button", name=re.compile("sending")).click()
        expect(page.locator("#chips button")).to_have_count(6)
        expect(page.locator("#rows .id")).to_have_count(1)
        expect(filters.get_by_label("Since")).not_to_have_value("")
        page.get_by_role("button", name="Remove the filter: group one").click()
        expect(page.get_by_role("button", name="filter-b", exact=True)).to_be_visible()
        page.get_by_role("button", name="Clear all").click()

        expect(page.get_by_role("button", name="filter-c", exact=True)).to_be_visible()
        expect(page.locator("#chips button")).to_have_count(0)


def test_search_box_takes_each_kind_of_id_and_a_host(browser: Browser, site: Site) -> None:
    """An operation id, a registration id, the id of a message, a host, a URL, or a mistake with an explanation."""
    site.at.upstream.script("look.for.this", "Succeeded")
    site.at.upstream.script("not-this-one", "Succeeded")
    name = site.register("look.for.this")
    site.register("not-this-one", "http://localhost:9/x")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        state_of(page, "look.for.this", "delivered")
        message = str(entries(site, "operationId=look.for.this")[0]["message"]["id"])  # type: ignore[index]
        box = page.get_by_role("search").get_by_role("searchbox")

        def search(text: str) -> None:
            box.fill(text)
            page.get_by_role("button", name="Find").click()

        for text, words in (("look.for.this", "operation look.for.this"), (message, f"message {message}")):
            search(text)
            expect(page.locator("#chips")).to_contain_text(words)
            expect(page.locator("#rows .id")).to_have_text(["look.for.this"])
        search("localhost")
        expect(page.locator("#chips")).to_contain_text("host localhost")
        expect(page.locator("#rows .id")).to_have_text(["not-this-one"])
        search("http://localhost:9/other?a=b")
        expect(page.locator("#chips")).to_contain_text("host localhost:9")
        search(name)
        expect(page.locator("#rows .id")).to_have_text(["look.for.this"])
        expect(page.locator(".life")).to_be_visible()
        search("no-such-operation")
        expect(page.get_by_text("No registration of an operation “no-such-operation”.")).to_be_visible()
        search("hooks.no-such-host.example")
        expect(page.get_by_text("No registration matches: host hooks.no-such-host.example.")).to_be_visible()
        search("what is this?")
        expect(page.get_by_role("search").get_by_role("alert")).to_contain_text("Enter an operation id")
        search("")

        expect(page.locator("#chips button")).to_have_count(0)
        expect(page.get_by_role("button", name="not-this-one", exact=True)).to_be_visible()


def test_every_view_has_an_address(browser: Browser, site: Site) -> None:
    """A link shows filters and open rows, a reload keeps them, and the back button returns to the view before."""
    site.at.receiver.answer("/dead", then=410)
    for operation_id in ("address-dead", "address-delivered"):
        site.at.upstream.script(operation_id, "Succeeded")
    site.register("address-dead", f"{site.at.receiver.url}/dead")
    name = site.register("address-delivered")
    view = f"?state=dead,skipped&host=127.0.0.1:{site.at.receiver.port}"
    with looking(browser, site.url, key=KEY, view=f"{view}#id={name}") as page:
        is_ready(page)
        expect(page.get_by_role("button", name="Remove the filter: failed or skipped")).to_be_visible()
        state_of(page, "address-dead", "failed")
        state_of(page, "address-delivered", "delivered")  # an open row that the filter leaves out
        expect(page.locator(".life")).to_contain_text("Delivered")
        page.reload()
        is_ready(page)
        expect(page.locator(".life")).to_contain_text("Delivered")
        opened_too = page.get_by_role("button", name="address-dead", exact=True)
        opened_too.click()
        expect(page.locator(".life")).to_have_count(2)
        page.go_back()
        expect(page.locator(".life")).to_have_count(1)
        page.locator("#counts").get_by_role("button", name=re.compile("^delivered")).click()
        expect(page.get_by_role("button", name="Remove the filter: delivered")).to_be_visible()
        expect(page).to_have_url(re.compile(rf"\?state=delivered&host=127\.0\.0\.1:{site.at.receiver.port}$"))
        page.go_back()

        expect(page.get_by_role("button", name="Remove the filter: failed or skipped")).to_be_visible()
        expect(page.locator(".life")).to_have_count(1)
        expect(opened_too).to_be_visible()


def test_wrong_address_is_explained_and_can_be_left(browser: Browser, site: Site) -> None:
    with looking(browser, site.url, key=KEY, view="?state=bogus&outcome=nonsense!") as page:
        expect(page.locator("#trouble")).to_contain_text("state")
        page.get_by_role("button", name="Clear all").click()

        expect(page.locator("#trouble")).to_be_empty()
        is_ready(page)


def test_link_to_a_registration_is_copied(browser: Browser, site: Site) -> None:
    """The link opens the row. A link to a registration that does not exist explains itself."""
    site.at.upstream.script("to-be-linked", "Running")
    name = site.register("to-be-linked")
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        opened(page, "to-be-linked")
        assert copied(page, "Copy link") == f"{site.url}/api/dashboard#id={name}"
        page.goto(f"{site.url}/api/dashboard?state=dead#id=default~gone~0123456789abcdef")

        expect(page.locator("#nothing")).to_contain_text("default~gone~0123456789abcdef: ")


def test_cards_react_before_the_bridge_answers(browser: Browser, site: Site) -> None:
    """The card is pressed and the filter is shown at the click, while the list is still being read."""
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)
        page.route(re.compile("/api/registrations\\?"), lambda _: None)  # no answer
        card = page.locator("#counts").get_by_role("button", name=re.compile("failed"))
        card.click()

        expect(card).to_have_attribute("aria-pressed", "true")
        expect(page.get_by_role("button", name="Remove the filter: failed")).to_be_visible()
        expect(page.locator("#table")).to_have_attribute("aria-busy", "true")


def test_every_kind_of_failure_has_plain_words(browser: Browser, site: Site) -> None:
    with looking(browser, site.url, key=KEY) as page:
        is_ready(page)

        assert page.evaluate("Object.keys(FAILURES)") == [*Failure]


@pytest.mark.parametrize(
    ("form", "until", "words"),
    [
        ("ago", -7, "7 s ago"),
        ("ago", 3, "now"),
        ("due", -7, "now"),
        ("due", 240, "in 4 min"),
        ("left", 43, "43 s"),
        ("left", -3, "1 s"),
        ("since", -13, "13 s"),
        ("since", 5, "1 s"),
    ],
)
def test_times_fit_into_their_sentence(browser: Browser, site: Site, form: str, until: int, words: str) -> None:
    """A next attempt is never "7 s ago", and a pause never ends "until in 43 s"."""
    with looking(browser, site.url, key=KEY) as page:
        assert page.evaluate(f"FORMS.{form}({until})") == words

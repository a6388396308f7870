"""Ten thousand registrations, and callers with tokens."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from azure.data.tables import TableClient
from playwright.sync_api import Browser, expect

from bridge.adapters.azure.clients import TABLE
from bridge.adapters.azure.table import AzureTable
from bridge.dependencies import real_clock
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import Registration, State
from bridge.storage.index import IndexEntry
from bridge.storage.keys import operation_partitions, partition_of
from bridge.storage.records import for_insert
from bridge.storage.table import MAX_WRITES, Insert, Transaction
from tests.dashboard.browser import is_ready, looking
from tests.support.situations import OPEN, Place, place
from tests.support.tenant import ANN, key_server

MANY = 10_000
ALWAYS: dict[str, Any] = {"nbf": 1_000_000_000, "exp": 4_000_000_000}


@pytest.fixture(scope="module")
def at() -> Iterator[Place]:
    """Yield a folder and ports for an app."""
    with place() as made:
        yield made


def fill(at: Place) -> None:
    """Store the index rows of many delivered registrations, the newest last."""
    table = AzureTable(TableClient.from_connection_string(at.azurite.connection_string, TABLE))
    now = real_clock().replace(microsecond=0)
    inserts: dict[str, list[Insert]] = {name: [] for name in operation_partitions()}
    for number in range(MANY):
        since = now - timedelta(seconds=MANY - number)
        url = "https://hooks.example.com/callback"
        ref = RegistrationRef.of(OperationRef("default", f"operation-{number:05d}"), owner="shared", callback_url=url)
        entry = IndexEntry.of(
            Registration(
                ref=ref,
                owner="shared",
                callback_url=url,
                events=tuple(FinalStatus),
                state=State.DELIVERED,
                since=since,
                generation=since,
                final_status=FinalStatus.SUCCEEDED,
                run_began_at=since - timedelta(seconds=2),
                delivered_at=since,
            )
        )
        inserts[partition_of(ref)].append(Insert(entry.key, for_insert(entry)))
    for partition, rows in inserts.items():
        for start in range(0, len(rows), MAX_WRITES):
            table.commit(Transaction(partition, tuple(rows[start : start + MAX_WRITES]), stamp=None, tx=""))


def test_ten_thousand_are_paged_newest_first(browser: Browser, at: Place) -> None:
    """Pages have fifty rows, in both directions. The count shows that counting stopped at a limit."""
    fill(at)
    app = at.start()
    with looking(browser, app.url) as page:
        is_ready(page)
        names = page.locator("#rows .id")
        expect(page.locator("#counts")).to_contain_text("1,000+")
        expect(names.first).to_have_text("operation-09999")
        expect(names).to_have_count(50)
        page.get_by_role("button", name="Older").click()
        expect(names.first).to_have_text("operation-09949")
        page.get_by_role("button", name="Older").click()
        expect(names.first).to_have_text("operation-09899")
        page.get_by_role("button", name="Newer").click()
        expect(names.first).to_have_text("operation-09949")
        expect(page.locator("#day title").last).to_contain_text(re.compile(r"\d+ delivered, 0 failed; half within 2 s"))


def test_page_accepts_tokens_if_owners_are_separate(browser: Browser, at: Place) -> None:
    """The page explains how to get a token. An admin sees all registrations, an owner sees the own ones."""
    with key_server() as tenant:
        app = at.start({**OPEN, **tenant.settings})
        with looking(browser, app.url) as page:
            expect(page.get_by_text("az account get-access-token")).to_be_visible()
            page.get_by_label("Token", exact=True).fill("wrong")
            page.get_by_role("button", name="Enter").click()
            expect(page.get_by_role("dialog").locator("p.wrong")).to_be_visible()
            page.get_by_label("Token", exact=True).fill(tenant.token(ANN, "Bridge.Admin", **ALWAYS))
            page.get_by_role("button", name="Enter").click()
            expect(page.locator("#sources")).to_contain_text("default")
        with looking(browser, app.url, key=tenant.token(ANN, "Bridge.Use", **ALWAYS)) as page:
            is_ready(page)
            expect(page.get_by_text("Counts and sources are visible to admins")).to_be_visible()
            nothing = page.get_by_text("Nothing is registered yet")
            expect(nothing.or_(page.get_by_text("Nothing on this page"))).to_be_visible()  # after the test above

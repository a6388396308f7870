"""The conditions that lists and bulk redeliveries share."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.domain.outcome import Failure, LastAttempt
from bridge.storage.index import EntryFilter, IndexEntry
from tests.support.harness import NOON, harness

SECOND = timedelta(seconds=1)
ENTRY = replace(IndexEntry.of(harness().request()), group="long")
REFUSED = replace(ENTRY, last_recorded=LastAttempt(number=3, at=NOON, status=401))
SILENT = replace(ENTRY, last_recorded=LastAttempt(number=1, at=NOON, error=Failure.TIMEOUT))


def test_a_filter_without_conditions_matches_every_entry() -> None:
    assert all(EntryFilter().matches(each) for each in (ENTRY, REFUSED, SILENT))


@pytest.mark.parametrize(
    ("host", "urls"),
    [
        ("a.example.com", ["https://a.example.com/x", "https://a.example.com:8443/", "http://a.example.com/?…tag"]),
        ("a.example.com:443", ["https://a.example.com/x"]),
        ("a.example.com:80", ["http://a.example.com/?…tag"]),
        ("a.example.com:8443", ["https://a.example.com:8443/"]),
        ("[2001:db8::1]", ["https://[2001:db8::1]/", "https://[2001:db8::1]:8443/"]),
        ("[2001:db8::1]:8443", ["https://[2001:db8::1]:8443/"]),
    ],
)
def test_a_host_matches_every_port_and_a_host_with_a_port_only_that_one(host: str, urls: list[str]) -> None:
    """A name is matched whole, not as a part of another name."""
    known = [
        "https://a.example.com/x",
        "https://a.example.com:8443/",
        "http://a.example.com/?…tag",
        "https://b.a.example.com/",
        "https://a.example.com.org/",
        "https://[2001:db8::1]/",
        "https://[2001:db8::1]:8443/",
    ]

    found = [url for url in known if EntryFilter(host=host).matches(replace(ENTRY, callback_url=url))]

    assert found == urls


def test_since_is_inclusive_and_until_is_exclusive() -> None:
    matching = EntryFilter(since=NOON, until=NOON + 2 * SECOND)

    found = [matching.matches(replace(ENTRY, since=NOON + seconds * SECOND)) for seconds in range(-1, 4)]

    assert found == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("outcome", "refused", "silent"),
    [
        ("401", True, False),
        ("4xx", True, False),
        ("5xx", False, False),
        ("403", False, False),
        ("timeout", False, True),
        ("tls", False, False),
    ],
)
def test_an_outcome_is_a_status_its_class_or_the_kind_of_a_failure(outcome: str, refused: bool, silent: bool) -> None:
    """An entry without a recorded attempt has no outcome."""
    matching = EntryFilter(outcome=outcome)

    assert [matching.matches(each) for each in (REFUSED, SILENT, ENTRY)] == [refused, silent, False]


def test_a_group_is_matched_exactly() -> None:
    found = [EntryFilter(group="long").matches(replace(ENTRY, group=each)) for each in ("long", "Long", "longer", None)]

    assert found == [True, False, False, False]


def test_an_entry_has_to_meet_all_conditions() -> None:
    met = EntryFilter(host="receiver.example.com", since=NOON, until=NOON + SECOND, outcome="401", group="long")
    unmet = [
        replace(met, host="other.example.com"),
        replace(met, since=NOON + SECOND),
        replace(met, until=NOON),
        replace(met, outcome="403"),
        replace(met, group="short"),
    ]

    assert [each.matches(REFUSED) for each in (met, *unmet)] == [True, *[False] * 5]

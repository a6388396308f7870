"""Spreading of redeliveries."""

import itertools
from collections import defaultdict
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bridge.services.bulk_redelivery import SPREAD, spread


def test_redeliveries_of_one_host_begin_evenly_over_a_minute() -> None:
    """Each host is spread separately."""
    waits = spread(["one", "two", "one", "one", "one"])

    assert [wait.total_seconds() for wait in waits] == [0, 0, 15, 30, 45]


@given(st.lists(st.sampled_from("abc"), max_size=300))
def test_no_host_gets_all_redeliveries_at_once(hosts: list[str]) -> None:
    """Each host's redeliveries begin at once, end within the minute, and are equally far apart."""
    of_host = defaultdict(list)
    for host, wait in zip(hosts, spread(hosts), strict=True):
        of_host[host].append(wait)

    for waits in of_host.values():
        assert waits[0] == timedelta(0)
        assert waits[-1] < SPREAD
        assert all(later > earlier for earlier, later in itertools.pairwise(waits))

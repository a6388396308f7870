"""Redelivers many without falling upon anybody: those of one host are spread over a minute."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

#: The redeliveries to one host begin over this time.
SPREAD = timedelta(minutes=1)


def spread(hosts: Sequence[str]) -> list[timedelta]:
    """Say for each delivery, by its host, after how long it begins: evenly, in the order given, the first at once."""
    total, seen, waits = Counter(hosts), Counter[str](), list[timedelta]()
    for host in hosts:
        waits.append(SPREAD * (seen[host] / total[host]))
        seen[host] += 1
    return waits

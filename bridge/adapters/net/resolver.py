"""Looks names up within a time limit, which `getaddrinfo` does not know.

Each lookup runs in a thread that can be abandoned; there is one for each name however many ask for it, so a name
that hangs holds up only those who ask for that name, and their number is bounded.
"""

import ipaddress
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from bridge.domain.callback_url import Address, unmapped

#: So many lookups may be under way, abandoned ones included; the system's own resolver ends each after a while.
MAX_LOOKUPS = 128


#: What the system's resolver said, for people.
_UNRESOLVED: dict[int | None, str] = {
    socket.EAI_NONAME: "there is no such name",
    socket.EAI_NODATA: "the name has no address",
    socket.EAI_AGAIN: "the name server did not answer",
    socket.EAI_FAIL: "the name server refused to answer",
}


class NoConnection(Exception):
    """No connection was opened; its kinds say why."""


class NameNotResolved(NoConnection):
    """The name leads nowhere, or nobody says so in time."""


@dataclass(slots=True)
class _Lookup:
    """One lookup under way."""

    done: threading.Event = field(default_factory=threading.Event)
    #: What came of it.
    addresses: Sequence[Address] = ()
    error: str = "the name has no address"


class Resolver:
    """Looks names up in threads of its own."""

    def __init__(self, limit: int = MAX_LOOKUPS) -> None:
        self._limit = limit
        self._under_way: dict[str, _Lookup] = {}
        self._lock = threading.Lock()

    def resolve(self, host: str, timeout: float) -> Sequence[Address]:
        """Find all addresses of `host` within `timeout` seconds.

        Raises NameNotResolved.
        """
        lookup = self._lookup(host)
        if not lookup.done.wait(timeout):
            raise NameNotResolved("no answer in time")
        if not lookup.addresses:
            raise NameNotResolved(lookup.error)
        return lookup.addresses

    def _lookup(self, host: str) -> _Lookup:
        with self._lock:
            lookup = self._under_way.get(host)
            if lookup is None:
                if len(self._under_way) >= self._limit:
                    raise NameNotResolved("too many lookups are under way")
                lookup = _Lookup()
                threading.Thread(target=self._run, args=(host, lookup), name="lookup", daemon=True).start()
                self._under_way[host] = lookup  # the thread takes it out under the same lock, so after this
            return lookup

    def _run(self, host: str, lookup: _Lookup) -> None:
        try:
            answer = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found = [unmapped(ipaddress.ip_address(str(entry[4][0]))) for entry in answer]
            lookup.addresses = list(dict.fromkeys(found))
        except (OSError, ValueError) as error:  # a name that cannot be encoded is a ValueError
            lookup.error = _UNRESOLVED.get(getattr(error, "errno", None), "the name could not be looked up")
        finally:
            with self._lock:
                self._under_way.pop(host, None)
            lookup.done.set()

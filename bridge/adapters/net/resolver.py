"""Name lookups with a time limit, which `getaddrinfo` lacks.

Each lookup runs in a thread that can be abandoned. There is one thread per name, shared by all callers with
that name, so a name that hangs delays no other name. The number of threads is limited.
"""

import ipaddress
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from bridge.domain.callback_url import Address, unmapped

#: The most concurrent lookups, including abandoned ones. The system's resolver ends each after a while.
MAX_LOOKUPS = 128


#: Results of the system's resolver, for people.
_UNRESOLVED: dict[int | None, str] = {
    socket.EAI_NONAME: "there is no such name",
    socket.EAI_NODATA: "the name has no address",
    socket.EAI_AGAIN: "the name server did not answer",
    socket.EAI_FAIL: "the name server refused to answer",
}


class NoConnection(Exception):
    """No connection was opened. Subclasses give the reason."""


class NameNotResolved(NoConnection):
    """The name does not resolve, or not in time."""


@dataclass(slots=True)
class _Lookup:
    """One lookup under way."""

    done: threading.Event = field(default_factory=threading.Event)
    #: The result.
    addresses: Sequence[Address] = ()
    error: str = "the name has no address"


class Resolver:
    """Resolves names in separate threads."""

    def __init__(self, limit: int = MAX_LOOKUPS) -> None:
        self._limit = limit
        self._under_way: dict[str, _Lookup] = {}
        self._lock = threading.Lock()

    def resolve(self, host: str, timeout: float) -> Sequence[Address]:
        """Return all addresses of `host` within `timeout` seconds.

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
                self._under_way[host] = lookup  # the thread removes it under the same lock, so after this line
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

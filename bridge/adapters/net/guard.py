"""Guarded connections to receivers. Speech and storage may be anywhere, but have the same deadlines.

The guard checks at the moment of connecting, on the address itself. A name is resolved once. If any address in the
answer is not allowed, no connection is made. The connection goes to one of the checked addresses, so a name that
changes between check and use has no effect. Host header, SNI and the certificate check stay those of the URL.
"""

import ipaddress
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bridge.adapters.net.deadline import AbortHandle, AttemptDeadline
from bridge.adapters.net.resolver import NoConnection, Resolver
from bridge.domain.callback_url import EVERYWHERE, Address, CallbackRules
from bridge.domain.delivery import ATTEMPT

#: For servers that the operator configured, which may be at a private address.
ANYWHERE = CallbackRules(allowed_networks=EVERYWHERE)

#: The most concurrent lookups for registrations.
_EARLY_LOOKUPS = 16

#: The most addresses of a name that an attempt tries: the owner of a name could list thousands.
MAX_ADDRESSES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Time limits in seconds."""

    #: The whole attempt.
    attempt: float = ATTEMPT.total_seconds()
    #: The name lookup.
    lookup: float = 5
    #: Opening the connection, over all addresses.
    connect: float = 5
    #: Reading the body of a receiver's answer, after the head has decided the outcome.
    body: float = 1


class RefusedByRules(NoConnection):
    """The name leads to an address that callbacks may not go to."""


class ConnectFailed(NoConnection):
    """No address of the host accepted the connection."""


class Guard:
    """Opens connections to allowed addresses only, each under the deadline of the thread's current attempt."""

    def __init__(self, rules: CallbackRules, limits: Limits | None = None) -> None:
        self.rules = rules
        self.limits = limits or Limits()
        self._resolver = Resolver()
        self._early = Resolver(_EARLY_LOOKUPS)
        self._local = threading.local()

    @property
    def is_held(self) -> bool:
        """Whether this thread is within an attempt."""
        return getattr(self._local, "deadline", None) is not None

    @contextmanager
    def attempt(self, seconds: float | None = None) -> Iterator[AttemptDeadline]:
        """Begin an attempt in this thread. One deadline covers everything until the end of the block.

        `seconds` can shorten the limit of this guard.
        """
        with AttemptDeadline(self.limits.attempt if seconds is None else seconds) as deadline:
            self._local.deadline = deadline
            try:
                yield deadline
            finally:
                self._local.deadline = None

    def hold(self, handle: AbortHandle) -> None:
        """Put a connection under the deadline of this thread's attempt."""
        self._deadline().hold(handle)

    def connect(self, host: str, port: int) -> tuple[socket.socket, AbortHandle]:
        """Connect to `host`, at one of the first MAX_ADDRESSES of its addresses.

        Raises NameNotResolved, RefusedByRules, ConnectFailed or TimeoutError.
        """
        deadline = self._deadline()
        addresses = self.allowed(host, deadline.remaining(self.limits.lookup))[:MAX_ADDRESSES]
        within = deadline.remaining(self.limits.connect)
        failure: OSError = ConnectionError("no address")
        for address in addresses:
            try:
                connection = socket.create_connection((str(address), port), timeout=within / len(addresses))
            except OSError as error:
                failure = error
                if isinstance(error, ConnectionResetError):  # the host accepted the connection and closed it at once
                    deadline.address = str(address)
                continue
            deadline.address = str(address)
            return connection, self._abortable(connection, str(address), within)
        if isinstance(failure, ConnectionResetError):  # with an errno urllib3 would still wait for an answer
            raise ConnectionResetError(type(failure).__name__) from failure
        if isinstance(failure, TimeoutError):
            raise failure
        raise ConnectFailed(os.strerror(failure.errno).lower() if failure.errno else "no connection") from failure

    def allowed(self, host: str, timeout: float) -> Sequence[Address]:
        """Resolve a name, and refuse the whole answer if any of its addresses is not allowed.

        Raises NameNotResolved and RefusedByRules.
        """
        return self._checked(self._resolver.resolve(host.strip("[]"), timeout))

    def look_early(self, host: str, timeout: float) -> Sequence[Address]:
        """Do the same for a registration. Its lookups are limited separately from those of attempts."""
        return self._checked(self._early.resolve(host.strip("[]"), timeout))

    def _checked(self, addresses: Sequence[Address]) -> Sequence[Address]:
        if not all(self.rules.allows_address(address) for address in addresses):
            raise RefusedByRules("the name leads to an address that is not allowed")
        return addresses

    def _abortable(self, connection: socket.socket, address: str, timeout: float) -> AbortHandle:
        """Put a new connection under the deadline. Closes the connection if its address is not allowed."""
        try:
            self._check_peer(connection)
            connection.settimeout(timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            handle = AbortHandle(connection, address)
        except OSError as error:  # the other side has closed the connection meanwhile
            connection.close()
            raise ConnectionResetError(type(error).__name__) from error
        except RefusedByRules:
            connection.close()
            raise
        self.hold(handle)
        return handle

    def _check_peer(self, connection: socket.socket) -> None:
        """Check the actual peer of the connection. This check is final, whatever happened before."""
        peer = ipaddress.ip_address(connection.getpeername()[0].partition("%")[0])
        if not self.rules.allows_address(peer):
            raise RefusedByRules("the connection goes to an address that is not allowed")

    def _deadline(self) -> AttemptDeadline:
        deadline: AttemptDeadline | None = getattr(self._local, "deadline", None)
        if deadline is None:
            raise RuntimeError("connections to receivers are opened within an attempt")
        return deadline

"""Guarded connections: to receivers, and to Speech, which may be anywhere but has a deadline too.

The guard is where it counts: at the moment of connecting, on the address itself.

A name is resolved once; if any address in the answer is not allowed, none is connected to; the connection goes to
one of the checked addresses, so a name that changes between check and use gains nothing. Host header, SNI and the
certificate check stay those of the URL.
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

#: For servers that the operator has named: they may be at a private address.
ANYWHERE = CallbackRules(allowed_networks=EVERYWHERE)

#: Lookups for registrations that may be under way.
_EARLY_LOOKUPS = 16

#: Of the addresses of a name, this many are tried in an attempt: whoever has the name could list thousands.
MAX_ADDRESSES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things may take, in seconds."""

    #: The whole attempt.
    attempt: float = ATTEMPT.total_seconds()
    #: Looking the name up.
    lookup: float = 5
    #: Opening the connection, over all addresses.
    connect: float = 5
    #: Reading the body of a receiver's answer, once the head has decided what came of the attempt.
    body: float = 1


class RefusedByRules(NoConnection):
    """The name leads to an address that callbacks may not go to."""


class ConnectFailed(NoConnection):
    """Nobody takes connections there."""


class Guard:
    """Opens connections to allowed addresses only, each under the deadline of the thread's present attempt."""

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
        """Begin an attempt in this thread: everything until the end of the block is under one deadline.

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
        """Open a connection to `host`, at one of the first MAX_ADDRESSES of its addresses.

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
                if isinstance(error, ConnectionResetError):  # somebody took it, and closed it at once
                    deadline.address = str(address)
                continue
            deadline.address = str(address)
            return connection, self._abortable(connection, str(address), within)
        if isinstance(failure, ConnectionResetError):  # with its number urllib3 would wait for an answer all the same
            raise ConnectionResetError(type(failure).__name__) from failure
        if isinstance(failure, TimeoutError):
            raise failure
        raise ConnectFailed(os.strerror(failure.errno).lower() if failure.errno else "no connection") from failure

    def allowed(self, host: str, timeout: float) -> Sequence[Address]:
        """Look a name up, and refuse the whole answer if any address in it is not allowed.

        Raises NameNotResolved and RefusedByRules.
        """
        return self._checked(self._resolver.resolve(host.strip("[]"), timeout))

    def look_early(self, host: str, timeout: float) -> Sequence[Address]:
        """Do the same for a registration, whose lookups take no place from those of attempts."""
        return self._checked(self._early.resolve(host.strip("[]"), timeout))

    def _checked(self, addresses: Sequence[Address]) -> Sequence[Address]:
        if not all(self.rules.allows_address(address) for address in addresses):
            raise RefusedByRules("the name leads to an address that is not allowed")
        return addresses

    def _abortable(self, connection: socket.socket, address: str, timeout: float) -> AbortHandle:
        """Put a fresh connection under the deadline; closes it if it may not stay open."""
        try:
            self._check_peer(connection)
            connection.settimeout(timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            handle = AbortHandle(connection, address)
        except OSError as error:  # it has been closed at the other end meanwhile
            connection.close()
            raise ConnectionResetError(type(error).__name__) from error
        except RefusedByRules:
            connection.close()
            raise
        self.hold(handle)
        return handle

    def _check_peer(self, connection: socket.socket) -> None:
        """Look at whom the connection really goes to; whatever happened in between, it is the last word."""
        peer = ipaddress.ip_address(connection.getpeername()[0].partition("%")[0])
        if not self.rules.allows_address(peer):
            raise RefusedByRules("the connection goes to an address that is not allowed")

    def _deadline(self) -> AttemptDeadline:
        deadline: AttemptDeadline | None = getattr(self._local, "deadline", None)
        if deadline is None:
            raise RuntimeError("connections to receivers are opened within an attempt")
        return deadline

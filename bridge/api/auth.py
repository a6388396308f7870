"""Authentication of callers, by a key that the platform has checked, or by a token.

Also names callers in the log, and limits the number of lines about refusals.
"""

import ipaddress
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import azure.functions as func

from bridge.api.errors import Problem, insufficient_scope, invalid_token, keys_unavailable
from bridge.domain.principal import (
    KEY_HOLDER,
    InsufficientScope,
    InvalidToken,
    KeysUnavailable,
    Principal,
    TokenError,
    principal_of,
)
from bridge.domain.time import Clock
from bridge.log import Event, called_by, log
from bridge.ports import Tokens

#: Stands for an unknown caller.
UNKNOWN = "unknown"


def caller_of(request: func.HttpRequest) -> str:
    """Return the address that the platform saw: the last one in `X-Forwarded-For`, which the front end adds.

    Callers can make up earlier addresses. A function key does not identify its holder. The address is for the log,
    never for a decision.
    """
    last = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    host = last.partition("]")[0].removeprefix("[") if last.startswith("[") else last
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return UNKNOWN


#: One line per caller and this period.
_WINDOW = timedelta(minutes=1)

#: The most callers with separate lines. All further callers of a period share one line.
_MOST_CALLERS = 1_000
_OTHERS = "others"


@dataclass(slots=True)
class _Window:
    """The refusals of one caller since its last line."""

    began: datetime
    why: str
    unwritten: int = 0


@dataclass(frozen=True, slots=True)
class Refusals:
    """Writes one `caller.refused` line per caller and minute: every client can call, and every line costs.

    The first refusal of a caller is written at once. Further refusals within the minute are counted. The next call
    after that minute, of any caller, writes the count as one line. A count is lost with its instance. Thread-safe.
    """

    _windows: OrderedDict[str, _Window] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, caller: str, why: str, now: datetime) -> None:
        """Count one refusal. The last `why` is written."""
        with self._lock:
            known = caller in self._windows or len(self._windows) < _MOST_CALLERS
            name = caller if known else _OTHERS
            window = self._windows.get(name)
            if window is None:
                self._windows[name] = _Window(now, why)
            else:
                window.why = why
                window.unwritten += 1
        if window is None:
            _write(name, why, 1)

    def write_ended(self, now: datetime) -> None:
        """Write the counts of minutes that have ended, and forget these counts."""
        ended = []
        with self._lock:
            while self._windows:
                name, window = next(iter(self._windows.items()))  # the oldest
                if now - window.began < _WINDOW:
                    break
                del self._windows[name]
                ended.append((name, window))
        for name, window in ended:
            if window.unwritten:
                _write(name, window.why, window.unwritten)


def _write(caller: str, why: str, count: int) -> None:
    with called_by(caller):
        log(Event.REFUSED, why=why, count=count)


@dataclass(frozen=True, slots=True)
class FunctionKeyAuth:
    """Treats every caller as a holder of a key: the platform checks the key of routes with this level."""

    level = func.AuthLevel.FUNCTION

    def authenticate(self, _request: func.HttpRequest, /) -> Principal:
        """Return the principal of all holders of a key."""
        return KEY_HOLDER


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerTokenAuth:
    """Verifies that a caller has a token of the tenant with a role. The platform checks nothing before."""

    tokens: Tokens
    clock: Clock
    refusals: Refusals = field(default_factory=Refusals)

    level = func.AuthLevel.ANONYMOUS

    def authenticate(self, request: func.HttpRequest, /) -> Principal:
        """Return the caller.

        Raises Problem with 401, with 403 without a role, and with 503 while the tenant's keys are unavailable.
        """
        now = self.clock()
        self.refusals.write_ended(now)
        principal = self._judge(_bearer(request))
        if isinstance(principal, Principal):
            return principal
        why = principal.why.value if isinstance(principal, InvalidToken) else type(principal).__name__
        self.refusals.note(caller_of(request), why, now)
        raise _problem(principal)

    def _judge(self, token: str) -> Principal | InvalidToken | InsufficientScope | KeysUnavailable:
        if not token:
            return InvalidToken(TokenError.MISSING)
        claims = self.tokens.claims(token)
        return claims if isinstance(claims, InvalidToken | KeysUnavailable) else principal_of(claims, self.clock())


Authenticator = FunctionKeyAuth | BearerTokenAuth


def _bearer(request: func.HttpRequest) -> str:
    """Return the token of `Authorization: Bearer …` (RFC 6750, 2.1). Empty without one."""
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _problem(refusal: InvalidToken | InsufficientScope | KeysUnavailable) -> Problem:
    match refusal:
        case InvalidToken(why=why):
            return invalid_token(why)
        case InsufficientScope():
            return insufficient_scope()
        case KeysUnavailable():
            return keys_unavailable()

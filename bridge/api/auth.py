"""Authenticates callers: by a key, which the platform has checked, or by a token.

Names callers for the log as well, and limits the lines about refusals.
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

#: Stands for a caller of whom nothing is known.
UNKNOWN = "unknown"


def caller_of(request: func.HttpRequest) -> str:
    """Name the address that the platform saw: the last one in `X-Forwarded-For`, which its front end adds.

    Anything before that is the caller's own word. A function key does not name its holder. The address is for the log,
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


#: One line for each caller and so long.
_WINDOW = timedelta(minutes=1)

#: Callers that are counted apart; all further ones of a window share one line.
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
    """Writes one `caller.refused` line for each caller and minute: anybody can call, and every line costs.

    The first refusal of a caller is written at once. Further refusals within the minute are counted. The next call
    after that minute, of any caller, writes the count as one line. A count is lost with its instance. Thread-safe.
    """

    _windows: OrderedDict[str, _Window] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, caller: str, why: str, now: datetime) -> None:
        """Count one refusal; `why` is that of the last one of a line."""
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
    """Takes every caller for a holder of a key: in front of a route of this level the platform checks one."""

    level = func.AuthLevel.FUNCTION

    def authenticate(self, _request: func.HttpRequest, /) -> Principal:
        """Take whoever calls for a holder of a key."""
        return KEY_HOLDER


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerTokenAuth:
    """Verifies that a caller has a token of the tenant with a role. The platform checks nothing before."""

    tokens: Tokens
    clock: Clock
    refusals: Refusals = field(default_factory=Refusals)

    level = func.AuthLevel.ANONYMOUS

    def authenticate(self, request: func.HttpRequest, /) -> Principal:
        """Say who calls.

        Raises Problem with 401, with 403 without a role, and with 503 while the tenant's keys are not to be had.
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
    """Take the token out of `Authorization: Bearer …` (RFC 6750, 2.1); empty where there is none."""
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

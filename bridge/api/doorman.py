"""Says who calls before a route is answered: by a key, which the platform has looked at, or by a token."""

from dataclasses import dataclass

import azure.functions as func

from bridge.api.problems import Problem, no_keys, role_missing, untrusted
from bridge.core.callers import KEY_HOLDER, Caller, Distrust, NoKeys, RoleMissing, Untrusted, admit
from bridge.core.times import Clock
from bridge.log import Event, log
from bridge.ports import Tokens


@dataclass(frozen=True, slots=True)
class ByKey:
    """Lets everybody in: behind a route of this level the platform has seen a function key."""

    level = func.AuthLevel.FUNCTION

    def admit(self, request: func.HttpRequest) -> Caller:  # noqa: ARG002 - a key says nothing of who holds it
        """Take whoever calls for a holder of a key."""
        return KEY_HOLDER


@dataclass(frozen=True, slots=True, kw_only=True)
class ByToken:
    """Lets in who brings a token of the tenant with a role; the platform lets everybody through to here."""

    tokens: Tokens
    clock: Clock

    level = func.AuthLevel.ANONYMOUS

    def admit(self, request: func.HttpRequest) -> Caller:
        """Say who calls.

        Raises Problem with 401, with 403 without a role, and with 503 while the tenant's keys are not to be had.
        """
        caller = self._judge(_bearer(request))
        if isinstance(caller, Caller):
            return caller
        log(Event.REFUSED, why=caller.why.value if isinstance(caller, Untrusted) else type(caller).__name__)
        raise _problem(caller)

    def _judge(self, token: str) -> Caller | Untrusted | RoleMissing | NoKeys:
        if not token:
            return Untrusted(Distrust.MISSING)
        claims = self.tokens.claims(token)
        return claims if isinstance(claims, Untrusted | NoKeys) else admit(claims, self.clock())


Doorman = ByKey | ByToken


def _bearer(request: func.HttpRequest) -> str:
    """Take the token out of `Authorization: Bearer …` (RFC 6750, 2.1); empty where there is none."""
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _problem(refusal: Untrusted | RoleMissing | NoKeys) -> Problem:
    match refusal:
        case Untrusted(why=why):
            return untrusted(why)
        case RoleMissing():
            return role_missing()
        case NoKeys():
            return no_keys()

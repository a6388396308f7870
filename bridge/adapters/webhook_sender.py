"""One POST to a receiver, with the outcome as a value."""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from bridge.adapters.net.deadline import AttemptDeadline
from bridge.adapters.net.failures import detail_of, failure_of
from bridge.adapters.net.guard import Guard, RefusedByRules
from bridge.adapters.net.resolver import NameNotResolved, NoConnection
from bridge.adapters.net.transport import GuardedClient
from bridge.domain.callback_url import hide_query, normalise
from bridge.domain.outcome import KEPT_ANSWER, Failure, Outcome, Unreachable, answered
from bridge.domain.retry import parse_retry_after
from bridge.domain.time import Clock

#: The time limit of the name lookup during a registration, in seconds.
_EARLY_LOOKUP = 1.0

#: The size of the cache of allowed URLs, of at most 2 KiB each. Refused URLs are not cached.
_REMEMBERED = 1024


class HttpWebhookSender:
    """Posts over guarded connections. Never follows a redirect, and never raises for a receiver's behaviour."""

    def __init__(self, guard: Guard, clock: Clock) -> None:
        self._guard = guard
        self._clock = clock
        self._client = GuardedClient(guard)
        self._normalised = lru_cache(_REMEMBERED)(lambda url: normalise(url, guard.rules))

    def check_destination(self, url: str) -> str | None:
        """Return an early reason to refuse a callback URL: its name leads to an address that is not allowed.

        A name that does not resolve yet is accepted, and may resolve by the time of the callback.
        """
        try:
            self._guard.look_early(urlsplit(url).hostname or "", _EARLY_LOOKUP)
        except RefusedByRules:
            return "leads to an address that is not public"
        except NameNotResolved:
            return None
        return None

    def address_of(self, origin: str) -> str | None:
        """Return the address that an attempt would connect to, within the time that an attempt has for the lookup.

        Of several addresses it is the least, so that names with the same addresses share the result. None if the name
        does not resolve, or leads to an address that is not allowed. The attempt fails for the same reason.
        """
        try:
            addresses = self._guard.allowed(urlsplit(origin).hostname or "", self._guard.limits.lookup)
        except NoConnection:
            return None
        return str(min(addresses, key=lambda address: (address.version, int(address))))

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Make one POST to a normalised URL, within the deadline of an attempt.

        A crash right after this repeats the delivery, with the same webhook-id.
        """
        with self._guard.attempt() as deadline:
            try:
                return self._post(url, headers, body, deadline)
            except Exception as error:  # noqa: BLE001 - any effect of an untrusted answer on the libraries
                failure, detail = failure_of(error), detail_of(error)
        if deadline.cut:
            failure, detail = Failure.TIMEOUT, f"no whole head of an answer within {self._guard.limits.attempt:g} s"
        return Unreachable(error=failure, detail=detail, address=deadline.address)

    def _post(self, url: str, headers: Mapping[str, str], body: bytes, deadline: AttemptDeadline) -> Outcome:
        """Make the POST. The outcome follows from the head of the answer. The body cannot change the outcome."""
        if self._normalised(url) != url:  # the rules can have changed since the registration
            raise RefusedByRules("the URL is not one that may be called")
        with self._client.exchange("POST", url, {**headers, "Accept": "*/*"}, body) as answer:
            deadline.shorten(self._guard.limits.body)
            start = answer.read(4 * KEPT_ANSWER, lenient=True)
            is_kept = self._guard.rules.keeps_answer_of(deadline.address)
            location = answer.get("Location") if is_kept else None
            return answered(
                answer.status,
                address=deadline.address,
                body=hide_query(start.decode("utf-8", "replace"), url).encode() if is_kept else b"",
                location=None if location is None else hide_query(location, url),
                retry_after=parse_retry_after(answer.get("Retry-After"), self._clock()),
            )

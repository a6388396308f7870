"""One POST to a receiver: what was sent, and what came of it as a value."""

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

#: Seconds that a registration waits for the address behind a name.
_EARLY_LOOKUP = 1.0

#: URLs that are known to be allowed, at 2 KiB at the most; what is refused is looked at again.
_REMEMBERED = 1024


class HttpWebhookSender:
    """Posts over guarded connections; never follows a redirect, never raises for what a receiver does."""

    def __init__(self, guard: Guard, clock: Clock) -> None:
        self._guard = guard
        self._clock = clock
        self._client = GuardedClient(guard)
        self._normalised = lru_cache(_REMEMBERED)(lambda url: normalise(url, guard.rules))

    def check_destination(self, url: str) -> str | None:
        """Say early why callbacks to a URL would be refused: the name leads to an address that is not allowed.

        A name that does not resolve now may do so when it matters, so nothing is said against it.
        """
        try:
            self._guard.look_early(urlsplit(url).hostname or "", _EARLY_LOOKUP)
        except RefusedByRules:
            return "leads to an address that is not public"
        except NameNotResolved:
            return None
        return None

    def address_of(self, origin: str) -> str | None:
        """Look up the address that an attempt would connect to, within the time that an attempt has for that.

        Of several addresses it is the least, so that names that share their addresses share this one. None if the
        name does not resolve, or leads to an address that is not allowed: the attempt fails for that reason.
        """
        try:
            addresses = self._guard.allowed(urlsplit(origin).hostname or "", self._guard.limits.lookup)
        except NoConnection:
            return None
        return str(min(addresses, key=lambda address: (address.version, int(address))))

    def close(self) -> None:
        """Close the connections that were kept."""
        self._client.close()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Make one POST to a normalised URL, within the deadline of an attempt.

        A crash right after this repeats the delivery, with the same webhook-id.
        """
        with self._guard.attempt() as deadline:
            try:
                return self._post(url, headers, body, deadline)
            except Exception as error:  # noqa: BLE001 - whatever a stranger's answer does to the libraries
                failure, detail = failure_of(error), detail_of(error)
        if deadline.cut:
            failure, detail = Failure.TIMEOUT, f"no whole head of an answer within {self._guard.limits.attempt:g} s"
        return Unreachable(error=failure, detail=detail, address=deadline.address)

    def _post(self, url: str, headers: Mapping[str, str], body: bytes, deadline: AttemptDeadline) -> Outcome:
        """Make the POST. A whole head decides what came of it: nothing that the body does changes that."""
        if self._normalised(url) != url:  # the rules can have changed since it was registered
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

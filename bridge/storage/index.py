"""The index by state: what a list shows of a registration, without reading the registration."""

from dataclasses import dataclass
from datetime import datetime

from bridge.domain.events import Format
from bridge.domain.ids import RegistrationRef
from bridge.domain.operation import Verdict
from bridge.domain.registration import Registration, State
from bridge.storage.keys import index_key


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One row, moved in the same transaction that changes the registration's state."""

    ref: RegistrationRef
    owner: str
    state: State
    #: When it came into that state; the list is in this order, newest first.
    since: datetime
    life: datetime
    callback_url: str
    events: tuple[Verdict, ...]
    format: Format
    #: How the operation ended; None while it runs.
    verdict: Verdict | None = None
    reason: str | None = None
    message_id: str | None = None
    message_type: str | None = None
    #: When its present run of attempts began; rows of former versions do not say.
    run_began_at: datetime | None = None
    next_attempt_at: datetime | None = None
    held_back: str | None = None
    delivered_at: datetime | None = None

    @property
    def key(self) -> str:
        """The key of its row."""
        return index_key(self.state, self.since, self.ref)

    @classmethod
    def of(cls, registration: Registration) -> "IndexEntry":
        """Take out of a registration what a list shows."""
        return cls(
            ref=registration.ref,
            owner=registration.owner,
            state=registration.state,
            since=registration.since,
            life=registration.life,
            callback_url=registration.callback_url,
            events=registration.events,
            format=registration.format,
            verdict=registration.verdict,
            reason=registration.reason,
            message_id=registration.message_id,
            message_type=registration.message_type,
            run_began_at=registration.run_began_at,
            next_attempt_at=registration.next_attempt_at,
            held_back=registration.held_back,
            delivered_at=registration.delivered_at,
        )


def index_key_of(registration: Registration) -> str:
    """Return the key of the index row of a registration as it is."""
    return index_key(registration.state, registration.since, registration.ref)

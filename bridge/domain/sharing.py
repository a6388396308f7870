"""How owners share an operation: who gets its outcome, and how many registrations each may have."""

from dataclasses import dataclass

from bridge.domain.operation import MAX_REGISTRATIONS
from bridge.domain.registration import Registration


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """The rules, by default those of a bridge that does not tell owners apart."""

    #: Whether a second owner may register for an operation, and gets its outcome.
    by_owners: bool = True
    #: How many registrations an operation has at most.
    places: int = MAX_REGISTRATIONS
    #: How many of them are of one owner at most.
    places_of_owner: int = MAX_REGISTRATIONS

    def is_taken(self, taker: str | None, registration: Registration) -> bool:
        """Tell whether an operation of the owner `taker` is another owner's. Registrations of admins are let in."""
        return not (self.by_owners or registration.by_admin or taker in (None, registration.owner))

    def gives_place(self, old: Registration, new: Registration) -> bool:
        """Tell whether one registration may be deleted for another: not if its owner would lose the operation."""
        return self.by_owners or old.owner == new.owner or not old.takes_operation

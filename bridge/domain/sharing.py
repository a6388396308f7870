"""How owners share an operation: who gets its outcome, and how many registrations each may have."""

from dataclasses import dataclass

from bridge.domain.operation import MAX_REGISTRATIONS
from bridge.domain.registration import Registration
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.records import Stored


@dataclass(frozen=True, slots=True)
class Full:
    """There is no place for a new registration, and none that gives its place."""

    limit: int
    #: Whether it is the limit of one owner.
    of_owner: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """The rules, by default those of a bridge that does not tell owners apart."""

    #: Whether a second owner may register for an operation, and gets its outcome.
    by_owners: bool = True
    #: How many registrations an operation has at most.
    places: int = MAX_REGISTRATIONS
    #: How many of them are of one owner at most.
    places_of_owner: int = MAX_REGISTRATIONS

    def is_taken(self, aggregate: OperationAggregate, registration: Registration) -> bool:
        """Tell whether an operation is another owner's. It lets an admin's registration in all the same."""
        return not (self.by_owners or registration.by_admin or aggregate.taker in (None, registration.owner))

    def place_for(self, new: Registration, aggregate: OperationAggregate) -> Stored[Registration] | Full | None:
        """Find the registration that gives its place to a new one; None if a place is free."""
        if aggregate.size_of(new.owner) >= self.places_of_owner:
            full = Full(self.places_of_owner, of_owner=self.places_of_owner < self.places)
            return aggregate.oldest_replaceable(lambda each: each.owner == new.owner) or full
        if aggregate.size >= self.places:
            full = Full(self.places, of_owner=False)
            return aggregate.oldest_replaceable(lambda each: self._gives_place(each, new)) or full
        return None

    def _gives_place(self, old: Registration, new: Registration) -> bool:
        """Tell whether one registration may be deleted for another: not if its owner would lose the operation."""
        return self.by_owners or old.owner == new.owner or not old.takes_operation

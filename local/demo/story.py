"""The operations of the demo, their expected results, and the checks. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from local.errors import LocalError
from local.receiver import Callback
from local.upstream import Life


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One operation with one callback."""

    #: The name on the screen, and the last part of the callback's path.
    name: str
    #: A description of the expected course.
    about: str
    #: The statuses over time.
    life: Life
    #: The type of the callback.
    event: str
    #: The expected outcome of each attempt: a status, or the class of failure.
    attempts: tuple[int | str, ...]

    @property
    def operation_id(self) -> str:
        """The id of the operation in Speech."""
        return f"demo-{self.name}"

    @property
    def receiver_is_late(self) -> bool:
        """Whether its receiver starts only after the first attempt has failed."""
        return len(self.attempts) > 1


ACTS = (
    Act(
        name="intro",
        about="succeeds; its callback arrives at once",
        life=((0, "NotStarted"), (1, "Running"), (4, "Succeeded")),
        event="avatar.operation.succeeded",
        attempts=(204,),
    ),
    Act(
        name="outtake",
        about="fails; its receiver hears of that too",
        life=((0, "NotStarted"), (2, "Running"), (6, "Failed")),
        event="avatar.operation.failed",
        attempts=(204,),
    ),
    Act(
        name="trailer",
        about="succeeds while its receiver is down; the bridge tries again",
        life=((0, "Running"), (2, "Succeeded")),
        event="avatar.operation.succeeded",
        attempts=("connect", 204),
    ),
)


def verified(callback: Callback, secret: str) -> Mapping[str, Any]:
    """Return the event of a callback, verified like any receiver would. Raises LocalError for a forged one."""
    try:
        event: Mapping[str, Any] = Webhook(secret).verify(callback.body, callback.headers)
    except WebhookVerificationError as error:
        raise LocalError(f"the callback to {callback.path} cannot be verified: {error}") from error
    return event


def problems(act: Act, shown: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> list[str]:
    """List all differences from the expected registration and callbacks."""
    attempts = tuple(each["error"] or each["status"] for each in shown["attempts"])
    types = [(each["type"], each["data"]["operationId"], each["data"]["metadata"]) for each in events]
    found = [
        (shown["state"] == "delivered", f"is {shown['state']}, not delivered"),
        (attempts == act.attempts, f"had the attempts {attempts}, not {act.attempts}"),
        (types == [(act.event, act.operation_id, {"name": act.name})], f"had the callbacks {types}"),
    ]
    return [f"{act.name} {problem}" for is_right, problem in found if not is_right]

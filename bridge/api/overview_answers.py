"""What the overview looks like, field by field; `from` is no name in Python, so two of them are called."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict  # pydantic reads the one of `typing` from Python 3.12 on

from bridge.api.responses import Moment, Share


class Delays(TypedDict):
    """Within how many seconds callbacks of an hour were delivered, from the beginning of their runs."""

    p50: Annotated[float, Field(ge=0, description="Half of them.")]
    p95: Annotated[float, Field(ge=0, description="95% of them.")]
    max: Annotated[float, Field(ge=0, description="All of them.")]


Hour = TypedDict(
    "Hour",
    {
        "from": Moment,
        "delivered": Annotated[int, Field(ge=0)],
        "dead": Annotated[int, Field(ge=0)],
        "delaySeconds": Annotated[Delays | None, Field(description="Null where nothing was delivered.")],
    },
)


class Expected(TypedDict):
    """What was learnt of a source, or of a group of it, and when a new operation would be asked for."""

    source: str
    group: Annotated[str | None, Field(description="Null for all operations of the source.")]
    completions: Annotated[float, Field(ge=0, description="From how many; old ones count less and less.")]
    shares: list[Share]
    medianSeconds: Annotated[float | None, Field(ge=0, description="Half of them end before this age.")]
    pollsAtSeconds: Annotated[list[float], Field(description="Ages, from the registration on; 40 at most.")]


Overview = TypedDict(
    "Overview",
    {
        "from": Annotated[Moment, Field(description="When the day begins, at a full hour.")],
        "completeFrom": Annotated[Moment, Field(description="Later than `from` where more has ended than is read.")],
        "hours": Annotated[list[Hour], Field(description="24 of them, oldest first; the last one runs.")],
        "schedules": Annotated[list[Expected], Field(description="Each source, then its groups; none for owners.")],
    },
)

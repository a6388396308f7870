"""The parts of host.json that this host uses."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from local.errors import LocalError, what_is_wrong

_LOG_LEVELS = {
    "trace": "DEBUG",
    "debug": "DEBUG",
    "information": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "critical": "CRITICAL",
    "none": "CRITICAL",
}


class QueueOptions(BaseModel):
    """`extensions.queues`, with the defaults and limits of the queue extension's QueuesOptions."""

    # Azure ignores an unknown name. Here a misspelt one is refused.
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)

    #: The most messages of one request to the queue.
    batch_size: int = Field(16, ge=1, le=32)
    #: More messages are requested while at most this many are being worked on. Default: half a batch.
    new_batch_threshold: int | None = Field(None, ge=0)
    #: The longest wait between two requests to an empty queue.
    max_polling_interval: timedelta = Field(timedelta(minutes=1), ge=timedelta(milliseconds=100))
    #: How long a message stays hidden after its function failed.
    visibility_timeout: timedelta = timedelta()
    #: The number of tries before the message goes to the poison queue.
    max_dequeue_count: int = Field(5, ge=1)
    #: The encoding of a body in the queue.
    message_encoding: Annotated[Literal["base64", "none"], BeforeValidator(str.lower)] = "base64"

    @property
    def threshold(self) -> int:
        """The new batch threshold, set or by default."""
        return self.batch_size // 2 if self.new_batch_threshold is None else self.new_batch_threshold


class HostOptions(BaseModel):
    """The parts of host.json that this host uses."""

    model_config = ConfigDict(frozen=True)

    #: The prefix of every route.
    route_prefix: str = "api"
    #: `extensions.queues`.
    queues: QueueOptions = QueueOptions()
    #: The lowest printed level of the app's log lines: `logging.logLevel.default`.
    log_level: str = "INFO"


def read_host_json(folder: Path) -> HostOptions:
    """Read host.json of the app in `folder`. Raises LocalError with the reason for an invalid file."""
    path = folder / "host.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("version") != "2.0":
            raise LocalError(f'{path}: "version" must be "2.0".')
        return _options(document)
    except FileNotFoundError as error:
        raise LocalError(f"{path} does not exist: is {folder} the folder of a function app?") from error
    except ValidationError as error:
        raise LocalError(f"{path}: {what_is_wrong(error)}") from error
    except ValueError as error:
        raise LocalError(f"{path} is not JSON: {error}") from error


def _options(document: dict[str, Any]) -> HostOptions:
    extensions = document.get("extensions", {})
    level = document.get("logging", {}).get("logLevel", {}).get("default", "Information")
    return HostOptions(
        route_prefix=extensions.get("http", {}).get("routePrefix", "api"),
        queues=QueueOptions.model_validate(extensions.get("queues", {})),
        log_level=_LOG_LEVELS.get(level.lower(), "INFO"),
    )

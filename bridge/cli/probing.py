"""Direct checks of the doctor with the app's own settings: storage, queue and Speech.

The checks only read. Each source gets one request for an operation that does not exist, which counts against the quota.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from http import HTTPStatus
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.core.pipeline import PipelineResponse
from azure.storage.queue import QueueClient

from bridge.adapters.azure.clients import authorisations, credential, queue_client, table_client
from bridge.adapters.azure.queue import DELIVERIES_QUEUE
from bridge.adapters.speech import SpeechService
from bridge.cli.examining import Examined, Health, agreement
from bridge.diagnostics import of_poll
from bridge.domain.errors import Misconfigured
from bridge.domain.ids import OperationRef
from bridge.domain.time import Clock
from bridge.domain.upstream import (
    BadRequest,
    NotFound,
    Pending,
    Source,
    Terminal,
    Throttled,
    TransientError,
    Unauthorized,
    read,
)
from bridge.settings import Settings, read_settings
from bridge.storage.keys import HEARTBEAT_KEY, SOURCES_PARTITION

#: The id of no real operation.
PROBE = "bridge-doctor-probe"

_POISON = f"{DELIVERIES_QUEUE}-poison"
_REACH = "check AzureWebJobsStorage, the account's firewall and the network's way to it"
_ROLES = "give the identity the roles Storage Table and Storage Queue Data Contributor, or check the account's key"


def directly(environment: Mapping[str, str], clock: Clock) -> Iterator[Examined]:
    """Check the settings, and then the services that they name."""
    try:
        settings = read_settings(environment)
    except Misconfigured as error:
        for name, problem in error.problems.items():
            yield Examined("own settings", Health.BAD, f"{name}: {problem}", f"set {name}")
        return
    yield Examined("own settings", Health.GOOD, "complete and valid")
    dates: list[str | None] = []
    yield from _storage(settings, dates)
    if dates:
        yield agreement("storage's clock", "the storage account's", dates[0], clock())
    yield from _sources(settings, clock)


def _storage(settings: Settings, dates: list[str | None]) -> Iterator[Examined]:
    def remember(reply: PipelineResponse[Any, Any]) -> None:
        dates.append(reply.http_response.headers.get("Date"))

    try:
        identity = credential(settings) if settings.storage_connection is None else None
        table = table_client(settings, identity)
        queues = [queue_client(settings, identity, name) for name in (DELIVERIES_QUEUE, _POISON)]
    except Misconfigured as error:
        yield Examined("storage", Health.BAD, str(error), "correct this setting")
        return
    with table:
        try:
            table.get_entity(SOURCES_PARTITION, HEARTBEAT_KEY, raw_response_hook=remember)
        except ResourceNotFoundError:
            yield Examined("storage", Health.GOOD, "answers; the first sweep will create the table")
        except AzureError as error:
            yield _of_storage("storage", error)
            return
        else:
            yield Examined("storage", Health.GOOD, "answers, and the table has a sweep's heartbeat")
    for queue in queues:
        with queue:
            yield _queue(queue)


def _queue(queue: QueueClient) -> Examined:
    name = "queue" if queue.queue_name == DELIVERIES_QUEUE else "poison queue"
    try:
        count = queue.get_queue_properties().approximate_message_count or 0
    except ResourceNotFoundError:
        return Examined(name, Health.GOOD, "does not exist yet: created on first use")
    except AzureError as error:
        return _of_storage(name, error)
    if count and name != "queue":
        do = "no delivery is lost; find the cause in the log, then clear the queue"
        return Examined(name, Health.BAD, f"{count} messages failed five times", do)
    return Examined(name, Health.GOOD, f"{count} messages")


def _of_storage(name: str, error: AzureError) -> Examined:
    """Explain a failure without the library's text, which contains URLs."""
    refused = isinstance(error, ClientAuthenticationError) or (
        isinstance(error, HttpResponseError) and error.status_code == HTTPStatus.FORBIDDEN
    )
    what = "refuses the bridge" if refused else f"does not answer ({type(error).__name__})"
    return Examined(name, Health.BAD, f"storage {what}", _ROLES if refused else _REACH)


def _sources(settings: Settings, clock: Clock) -> Iterator[Examined]:
    try:
        speech = SpeechService(settings.sources, authorisations(settings))
    except Misconfigured as error:
        yield Examined("speech", Health.BAD, str(error), "correct this setting")
        return
    with closing(speech):
        yield from _answers(speech, settings.sources, clock)


def _answers(speech: SpeechService, sources: Iterable[Source], clock: Clock) -> Iterator[Examined]:
    for source in sources:
        reply = speech.fetch_operation(OperationRef(source.name, PROBE))
        name, result = f"speech {source.name}", read(reply, OperationRef(source.name, PROBE), clock())
        match result:
            case NotFound() | Pending() | Terminal():
                yield Examined(name, Health.GOOD, f"answers at {source.endpoint}, and accepts the credential")
            case Unauthorized() | TransientError() | Throttled() | BadRequest():
                hint = of_poll(result.error.kind)
                yield Examined(name, Health.BAD, f"{hint.what} ({result.error.kind}: {result.error.detail})", hint.do)

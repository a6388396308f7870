"""The queue in Azure Queue storage."""

from contextlib import suppress
from datetime import timedelta

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient

from bridge.adapters.azure.storage_calls import Breaker, StorageCalls
from bridge.adapters.net.guard import Guard
from bridge.domain.delivery import DeliveryTask
from bridge.storage.queue_message import write_task

#: The queue of the function app's trigger.
DELIVERIES_QUEUE = "bridge-deliveries"


#: The time limit of a send in seconds. A client waits meanwhile.
SEND = 1.5

#: After this many sends in a row without an answer, sends fail at once for this many seconds.
_SILENT_AFTER, _RETRY_AFTER = 2, 5.0


class AzureQueue:
    """A queue. A send creates the queue again after a deletion. The client encodes messages as host.json declares."""

    def __init__(self, client: QueueClient, guard: Guard | None = None) -> None:
        """Wrap a client. `guard` must be the guard of the client."""
        self._client = client
        self._calls = StorageCalls("queue storage", guard, seconds=SEND, breaker=Breaker(_SILENT_AFTER, _RETRY_AFTER))

    def create(self) -> None:
        """Create the queue if it is missing, within SEND seconds. Raises StorageUnavailable."""
        with self._calls.call():
            self._create()

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        """Send a task that expires after `ttl`, within SEND seconds.

        A crash before the send delays the attempt until the due row sends another message. Raises StorageUnavailable,
        also for an answer that is not the service's. The message may have been sent in that case, and is sent again.
        """
        seconds = max(1, int(ttl.total_seconds()))
        with self._calls.call():
            try:
                self._client.send_message(write_task(task), time_to_live=seconds)
            except ResourceNotFoundError:
                self._create()
                self._client.send_message(write_task(task), time_to_live=seconds)

    def _create(self) -> None:
        with suppress(ResourceExistsError):  # another instance was faster
            self._client.create_queue()

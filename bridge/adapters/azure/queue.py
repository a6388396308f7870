"""The queue in Azure Queue storage."""

from contextlib import suppress
from datetime import timedelta

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient

from bridge.adapters.azure.storage_calls import Breaker, StorageCalls
from bridge.adapters.net.guard import Guard
from bridge.domain.delivery import DeliveryTask
from bridge.storage.queue_message import write_task

#: The queue that the function app's trigger listens to.
DELIVERIES_QUEUE = "bridge-deliveries"


#: Seconds that a send may take: a client waits meanwhile.
SEND = 1.5

#: After so many silent sends in a row none is tried for this many seconds.
_SILENT_AFTER, _RETRY_AFTER = 2, 5.0


class AzureQueue:
    """A queue; a send makes it if it was deleted. Its client encodes messages as host.json declares."""

    def __init__(self, client: QueueClient, guard: Guard | None = None) -> None:
        """Make it; `guard` is the one that the client was made with."""
        self._client = client
        self._calls = StorageCalls("queue storage", guard, seconds=SEND, breaker=Breaker(_SILENT_AFTER, _RETRY_AFTER))

    def create(self) -> None:
        """Make the queue if there is none, within SEND seconds. Raises StorageUnavailable."""
        with self._calls.call():
            self._create()

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        """Send a task that is worth nothing after `ttl`, within SEND seconds.

        A crash before this delays the attempt until the due row sends another message. Raises StorageUnavailable,
        also for an answer that is not the service's: the message may have been sent then, and is sent again.
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

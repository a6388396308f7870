"""The outbox in Azure Queue storage."""

from contextlib import suppress
from datetime import timedelta

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient

from bridge.core.delivery import Call
from bridge.core.errors import StorageUnavailable
from bridge.core.wire import write_call

#: The queue that the function app's trigger listens to.
DELIVERIES_QUEUE = "bridge-deliveries"


class AzureOutbox:
    """A queue that is created when it is first sent to. Its client encodes messages as host.json declares."""

    def __init__(self, client: QueueClient) -> None:
        self._client = client

    def send(self, call: Call, *, ttl: timedelta) -> None:
        """Send a call that is worth nothing after `ttl`.

        A crash before this delays the attempt until the due row sends another message. Raises StorageUnavailable.
        """
        seconds = max(1, int(ttl.total_seconds()))
        try:
            try:
                self._client.send_message(write_call(call), time_to_live=seconds)
            except ResourceNotFoundError:
                self._create()
                self._client.send_message(write_call(call), time_to_live=seconds)
        except AzureError as error:
            raise StorageUnavailable(f"queue storage: {type(error).__name__}") from error

    def _create(self) -> None:
        with suppress(ResourceExistsError):  # another instance was faster
            self._client.create_queue()

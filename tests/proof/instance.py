"""One process of the bridge, and the dependencies behind the process."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

from bridge.app import App
from bridge.ports import DeliveryQueue, WebhookSender
from bridge.storage.table import Table
from tests.proof.calls import Caller, Invocation
from tests.support.http import Client


@dataclass(slots=True)
class Parts:
    """The parts that all processes share. An injected fault replaces one of them."""

    table: Callable[[Table], Table] = lambda table: table
    queue: Callable[[DeliveryQueue], DeliveryQueue] = lambda queue: queue
    sender: Callable[[WebhookSender], WebhookSender] = lambda sender: sender
    #: Enters a change of the code of the bridge.
    patched: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(slots=True)
class Instance:
    """One process of the bridge, with the clock of the machine."""

    app: App
    caller: Caller
    offset: timedelta = timedelta(0)
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.app)

    def begin(self) -> None:
        """Begin an invocation."""
        self.caller.invocation = Invocation()
        self.caller.made = 0

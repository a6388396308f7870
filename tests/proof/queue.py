"""The queue and its trigger, as Azure has them: a message is hidden while it is worked on, and comes back."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.delivery import DeliveryTask
from bridge.domain.time import Clock
from bridge.storage.queue_message import write_task

#: A message whose invocation failed or died is seen again after this: host.json's `visibilityTimeout`.
HIDDEN = timedelta(seconds=30)

#: So often a message is given out before it is poison: host.json's `maxDequeueCount`.
MOST_TRIES = 10


@dataclass(slots=True)
class Message:
    """One message."""

    body: bytes
    expires_at: datetime
    visible_at: datetime
    tries: int = 0


class Queue:
    """Keeps messages until they are done, expired or poison."""

    def __init__(self, clock: Clock) -> None:
        self.messages: list[Message] = []
        self._clock = clock

    def create(self) -> None:
        """Be there already."""

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        """Take a message, as the text that a real queue would hold."""
        now = self._clock()
        self.messages.append(Message(write_task(task).encode(), now + ttl, now))

    def visible(self) -> list[Message]:
        """See which messages could be given out now, oldest first."""
        now = self._clock()
        self.messages = [each for each in self.messages if each.expires_at > now and each.tries < MOST_TRIES]
        return [each for each in self.messages if each.visible_at <= now]

    def work(self, message: Message, follow: Callable[[bytes], bool]) -> None:
        """Give a message out; it goes away if `follow` says that all went well."""
        message.tries += 1
        message.visible_at = self._clock() + HIDDEN
        if follow(message.body) and message in self.messages:
            self.messages.remove(message)

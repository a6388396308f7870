"""The queue and the trigger with Azure's semantics: messages are hidden during work and reappear after a failure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.delivery import DeliveryTask
from bridge.domain.time import Clock
from bridge.storage.queue_message import write_task

#: Time until a message of a failed or dead invocation is visible again: host.json's `visibilityTimeout`.
HIDDEN = timedelta(seconds=30)

#: Number of tries before a message is poison: host.json's `maxDequeueCount`.
MOST_TRIES = 10


@dataclass(slots=True)
class Message:
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
        """Do nothing: the queue exists."""

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        """Store a message in the text form of a real queue."""
        now = self._clock()
        self.messages.append(Message(write_task(task).encode(), now + ttl, now))

    def visible(self) -> list[Message]:
        """Return the visible messages, oldest first."""
        now = self._clock()
        self.messages = [each for each in self.messages if each.expires_at > now and each.tries < MOST_TRIES]
        return [each for each in self.messages if each.visible_at <= now]

    def work(self, message: Message, follow: Callable[[bytes], bool]) -> None:
        """Pass a message to `follow`, and delete the message if the result is true."""
        message.tries += 1
        message.visible_at = self._clock() + HIDDEN
        if follow(message.body) and message in self.messages:
            self.messages.remove(message)

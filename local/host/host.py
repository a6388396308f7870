"""The host: an app and the triggers, from start to stop."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.storage.queue import QueueClient

from local.errors import LocalError
from local.host.configuration import read_host_json
from local.host.http import HttpFront
from local.host.index import Function, QueueTrigger, TimerTrigger, index
from local.host.queue_listener import QueueListener
from local.host.timer import run_timer
from local.host.worker import Worker
from local.web import WebServer, hosts_of

#: The most requests that can wait for the pool. Async functions need no thread of the pool. Azure has no such limit.
_HTTP_THREADS = 256

#: The default limit of a body in bytes, unless FUNCTIONS_REQUEST_BODY_SIZE_LIMIT is set: `ScriptConstants.cs`.
_BODY_LIMIT = 104_857_600


class Host:
    """A running function app. Creating the object indexes and starts the app. Raises LocalError if that fails."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *, port: int = 0, keys: Sequence[str] = ()) -> None:
        self.options = read_host_json(folder)
        self.functions = index(folder, environ, prefix=self.options.route_prefix)
        threads = environ.get("PYTHON_THREADPOOL_THREAD_COUNT")
        self._worker = Worker(int(threads) if threads else None)
        self._stopping = threading.Event()
        clients = {
            function: _clients(function.trigger)
            for function in self.functions
            if isinstance(function.trigger, QueueTrigger)
        }
        body_limit = int(environ.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT") or _BODY_LIMIT)
        front = HttpFront(self.functions, self._worker, keys, body_limit=body_limit)
        self._web = WebServer(front, port=port, threads=_HTTP_THREADS, hosts=hosts_of(environ.get("LOCAL_HOSTS")))
        self._timers = [
            self._timer(function, function.trigger)
            for function in self.functions
            if isinstance(function.trigger, TimerTrigger)
        ]
        self._listeners = [
            QueueListener(function, self.options.queues, self._worker, queue=queue, poison=poison)
            for function, (queue, poison) in clients.items()
        ]

    @property
    def url(self) -> str:
        """The URL of the host, without the route prefix."""
        return self._web.url

    def stop(self, timeout: float) -> bool:
        """Start nothing more and finish invocations in flight. Returns False if `timeout` seconds are not enough."""
        end = time.monotonic() + timeout
        self._stopping.set()
        for listener in self._listeners:
            listener.stop()
        finished = [self._web.stop(timeout)]
        finished += [listener.join(max(0.0, end - time.monotonic())) for listener in self._listeners]
        for timer in self._timers:
            timer.join(max(0.0, end - time.monotonic()))
        self._worker.stop()
        return all(finished) and not any(timer.is_alive() for timer in self._timers)

    def _timer(self, function: Function, trigger: TimerTrigger) -> threading.Thread:
        thread = threading.Thread(
            target=run_timer,
            args=(function, trigger, self._worker),
            kwargs={"now": _now, "wait": self._wait},
        )
        thread.start()
        return thread

    def _wait(self, duration: timedelta) -> bool:
        return self._stopping.wait(duration.total_seconds())


def _clients(trigger: QueueTrigger) -> tuple[QueueClient, QueueClient]:
    """Return clients of the queue and the poison queue.

    They give up soon, since their callers retry, and do not log each request.
    """
    try:
        queue, poison = (
            QueueClient.from_connection_string(
                trigger.connection_string,
                name,
                retry_total=0,
                connection_timeout=5,
                read_timeout=10,
                http_logging_level=logging.DEBUG,
            )
            for name in (trigger.queue_name, f"{trigger.queue_name}-poison")
        )
    except ValueError as error:
        raise LocalError(f"the storage connection of queue {trigger.queue_name}: {error}") from error
    return queue, poison


def _now() -> datetime:
    return datetime.now(UTC)

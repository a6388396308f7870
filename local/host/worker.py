"""The Python worker: converts the data of a trigger to the app's object, and runs the function."""

import asyncio
import inspect
import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from azure.functions.meta import Datum

from local.host.converters import converter
from local.host.index import Function, HttpTrigger

_log = logging.getLogger("host")


#: Loggers of this host. Their lines are kept without an invocation.
_OWN_LOGGERS = ("host", "waitress")

#: The thread that runs an invocation. A copied context does not make another thread the running one.
_invoking_thread: ContextVar[int | None] = ContextVar("invoking_thread", default=None)


def belongs_to_an_invocation(record: logging.LogRecord) -> bool:
    """Filter a log line like Azure: a line from a thread without an invocation is dropped."""
    return record.name.startswith(_OWN_LOGGERS) or _invoking_thread.get() == threading.get_ident()


class Worker:
    """A pool of threads that runs all functions of the app, for any trigger.

    Async functions run on one event loop instead, and need no thread of the pool.
    """

    def __init__(self, threads: int | None) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="function")
        self._loop = asyncio.new_event_loop()
        self._loop_thread = threading.Thread(target=self._loop.run_forever, name="async functions", daemon=True)
        self._loop_thread.start()

    def submit(self, function: Function, data: Datum, metadata: Mapping[str, Datum] | None = None) -> "Future[Any]":
        """Run a function as soon as a thread is free. An exception is logged, and becomes the future's.

        The result of an HTTP function is encoded by azure.functions for the host.
        """
        if inspect.iscoroutinefunction(function.handler):
            return asyncio.run_coroutine_threadsafe(_invoke_async(function, data, metadata), self._loop)
        return self._pool.submit(_invoke, function, data, metadata)

    def stop(self) -> None:
        """Start no further functions. Does nothing to a stopped worker."""
        if self._loop.is_closed():
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._loop_thread.join()
        self._loop.close()


def _invoke(function: Function, data: Datum, metadata: Mapping[str, Datum] | None) -> object:
    with _invocation(function):
        return _encode(function, function.handler(**_arguments(function, data, metadata)))


async def _invoke_async(function: Function, data: Datum, metadata: Mapping[str, Datum] | None) -> object:
    with _invocation(function):
        return _encode(function, await function.handler(**_arguments(function, data, metadata)))


@contextmanager
def _invocation(function: Function) -> Iterator[None]:
    """Mark this thread as the one that runs the invocation, and log the exception."""
    token = _invoking_thread.set(threading.get_ident())
    try:
        yield
    except Exception:
        _log.exception("%s failed", function.name)
        raise
    finally:
        _invoking_thread.reset(token)


def _arguments(function: Function, data: Datum, metadata: Mapping[str, Datum] | None) -> dict[str, object]:
    return {function.parameter: converter(function.binding).decode(data, trigger_metadata=metadata)}


def _encode(function: Function, result: object) -> object:
    if isinstance(function.trigger, HttpTrigger):
        return converter("http").encode(result, expected_type=None)
    return _no_value(result)


def _no_value(result: object) -> object:
    """Raise TypeError for a result without a binding, like the worker: the invocation fails, its effects stay."""
    if result is not None:
        raise TypeError("a function without a return binding must return None")
    return result

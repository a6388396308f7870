"""The Python worker's part: turn what a trigger brings into the object that the app gets, and run the function."""

import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from azure.functions.meta import Datum

from local.host.converters import converter
from local.host.index import Function, HttpTrigger

_log = logging.getLogger("host")


class Worker:
    """A pool of threads in which all functions of the app run, whatever triggers them."""

    def __init__(self, threads: int | None) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="function")

    def submit(self, function: Function, data: Datum, metadata: Mapping[str, Datum] | None = None) -> "Future[Any]":
        """Run a function as soon as a thread is free; its exception is logged, and is the future's.

        What an HTTP function answers comes as azure.functions encodes it for the host.
        """
        return self._pool.submit(_invoke, function, data, metadata)

    def stop(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _invoke(function: Function, data: Datum, metadata: Mapping[str, Datum] | None) -> object:
    try:
        argument = converter(function.binding).decode(data, trigger_metadata=metadata)
        result = function.handler(**{function.parameter: argument})
        if isinstance(function.trigger, HttpTrigger):
            return converter("http").encode(result, expected_type=None)
        return _no_value(result)
    except Exception:
        _log.exception("%s failed", function.name)
        raise


def _no_value(result: object) -> object:
    """Refuse a value that no binding takes, as the worker does: the invocation fails, its effects stay."""
    if result is not None:
        raise TypeError("a function without a return binding must return None")
    return result

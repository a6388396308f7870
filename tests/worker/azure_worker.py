"""Microsoft's worker with an app, in a separate process. The test acts as the host.

Azure runs the PyPI package `azure-functions-runtime`. Its functions accept the host's messages and return messages.
Each worker needs a new process, since an app reads the settings only at import.
"""

import asyncio
import importlib
import json
import logging
import multiprocessing
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from azure.functions.meta import Datum

from local.host.routes import Route
from tests.worker import protos
from tests.worker.protos import ParameterBinding, RpcHttp, TypedData

_TIMER = json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer in the form for the host."""

    #: The function that answered.
    function: str
    #: The status code.
    status: int
    #: The headers, with names in lower case.
    headers: Mapping[str, str]
    #: The body.
    body: bytes


class AzureWorker:
    """A worker with an indexed app. The context manager ends the process."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._process = ProcessPoolExecutor(1, spawn, initializer=_begin, initargs=(dict(environ), str(folder)))
        init = SimpleNamespace(capabilities={}, function_app_directory=str(folder))
        #: The answer to the init request.
        self.started = self._ask("worker_init_request", worker_init_request=init)
        found = self._ask("functions_metadata_request").function_metadata_results
        #: The functions of the app, by name.
        self.functions = {each.name: each for each in found or ()}

    def load(self, name: str) -> SimpleNamespace:
        """Load a function, like the host before each first call."""
        request = SimpleNamespace(function_id=self.functions[name].function_id)
        return self._ask("function_load_request", function_load_request=request)

    def trigger(self, name: str) -> dict[str, Any]:
        """Return a function's trigger in the form for the host."""
        bindings = [json.loads(each) for each in self.functions[name].raw_bindings]
        trigger: dict[str, Any] = next(each for each in bindings if each["type"].endswith("Trigger"))
        return trigger

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Call the function with the matching route.

        Raises AssertionError if the function fails, which gives a 500 on Azure.
        """
        name, parameters = self._route(method, unquote(urlsplit(url).path))
        http = RpcHttp(
            method=method,
            url=url,
            headers={key.lower(): value for key, value in headers.items()},
            params=parameters,
            query=dict(parse_qsl(urlsplit(url).query)),
            body=TypedData(bytes=body) if body else TypedData(),
        )
        output = self._invoke(name, TypedData(http=http), {})
        assert output.result.status == "Success", output.result.exception.message
        answer = output.return_value.http
        return Answer(
            function=name,
            status=int(answer.status_code),
            headers={key.lower(): value for key, value in answer.headers.items()},
            body=answer.body.bytes,
        )

    def tick(self, name: str) -> str:
        """Fire the timer. Returns the status of the invocation."""
        return str(self._invoke(name, TypedData(json=_TIMER), {}).result.status)

    def take(self, name: str, body: str, metadata: Mapping[str, Datum]) -> str:
        """Pass on a queue message with the host's metadata. Returns the status of the invocation."""
        told = {key: TypedData(**{str(datum.type): datum.value}) for key, datum in metadata.items()}
        return str(self._invoke(name, TypedData(string=body), told).result.status)

    def lines(self) -> list[tuple[str | None, dict[str, Any]]]:
        """Return the bridge's log lines so far, each with the invocation id that the host reads."""
        return [(invocation, json.loads(line)) for invocation, line in self._process.submit(_lines_so_far).result()]

    def _route(self, method: str, path: str) -> tuple[str, dict[str, str]]:
        """Return the function and the route parameters of a request, by the reported routes."""
        for name in sorted(self.functions):
            trigger = self.trigger(name)
            if trigger["type"] == "httpTrigger":
                parameters = Route.parse(trigger["route"], trigger["methods"], prefix="api").match(method, path)
                if parameters is not None:
                    return name, parameters
        raise AssertionError(f"no function takes {method} {path}")

    def _invoke(self, name: str, data: TypedData, metadata: Mapping[str, TypedData]) -> SimpleNamespace:
        request = SimpleNamespace(
            invocation_id=f"call-of-{name}",
            function_id=self.functions[name].function_id,
            input_data=[ParameterBinding(name=self.trigger(name)["name"], data=data)],
            trigger_metadata=dict(metadata),
            trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
            retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
        )
        return self._ask("invocation_request", invocation_request=request)

    def _ask(self, handler: str, **request: SimpleNamespace) -> SimpleNamespace:
        return self._process.submit(_handle, handler, SimpleNamespace(**request)).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.shutdown()


def _begin(environ: dict[str, str], folder: str) -> None:
    """Become a worker process: only these settings, in the app's folder, with the app's modules first."""
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.path.insert(0, folder)
    _runtime().start_threadpool_executor()
    bridge = logging.getLogger("bridge")
    bridge.setLevel(logging.INFO)
    bridge.addHandler(_Handler())


class _Handler(logging.Handler):
    """Keeps log lines in the way of Microsoft's worker."""

    def emit(self, record: logging.LogRecord) -> None:
        """Read the invocation id from the context or from the thread, like the worker."""
        of_thread = importlib.import_module("azure_functions_runtime.bindings.context")._invocation_id_local
        invocation = _runtime().invocation_id_cv.get() or getattr(of_thread, "invocation_id", None)
        _LINES.append((invocation, record.getMessage()))


#: Exists only in the worker's process.
_LINES: list[tuple[str | None, str]] = []


def _lines_so_far() -> list[tuple[str | None, str]]:
    return _LINES


def _handle(handler: str, request: SimpleNamespace) -> SimpleNamespace:
    """Pass one message to the worker."""
    message = SimpleNamespace(request=request, properties={"host": "127.0.0.1", "protos": protos})
    response: SimpleNamespace = asyncio.run(getattr(_runtime(), handler)(message))
    return response


def _runtime() -> ModuleType:
    return importlib.import_module("azure_functions_runtime")

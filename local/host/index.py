"""Loads a function app like Azure's worker. An app that Azure would lose silently is refused with the reason."""

import importlib.util
import inspect
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from azure.functions import Function as DecoratedFunction
from azure.functions import FunctionRegister

from local.errors import LocalError
from local.host.converters import check_annotations
from local.host.routes import Route
from local.host.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTrigger:
    """An HTTP trigger."""

    #: The requests of the function.
    route: Route
    #: `anonymous`, `function` or `admin`.
    level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerTrigger:
    """A timer trigger."""

    #: The times of the invocations.
    schedule: Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTrigger:
    """A queue trigger."""

    #: The queue, in lower case.
    queue_name: str
    #: The storage account's connection string.
    connection_string: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function of the app."""

    #: The name, unique in the app.
    name: str
    #: The parameter for the trigger's data.
    parameter: str
    #: The binding's type, which identifies the converter of azure.functions.
    binding: str
    #: The trigger.
    trigger: HttpTrigger | TimerTrigger | QueueTrigger
    #: The app's own code, whose types are not known here.
    handler: Callable[..., Any]


def index(folder: Path, environ: Mapping[str, str], *, prefix: str) -> tuple[Function, ...]:
    """Return the app's functions, ordered by name like in Azure: routes are tried in this order.

    Raises LocalError if the app cannot be imported, has no or several FunctionApps, or has an invalid function.
    """
    app = _app_of(_import(folder))
    try:
        found = app.get_functions()
        functions = [_describe(function, environ, prefix) for function in found]
    except ValueError as error:
        raise LocalError(f"the app does not index: {error}") from error
    functions.sort(key=lambda function: function.name.lower())
    _refuse_conflicts(functions)
    return tuple(functions)


def _import(folder: Path) -> ModuleType:
    """Execute function_app.py again, with its folder first on the import path, like the worker."""
    path = folder.resolve() / "function_app.py"
    if not path.is_file():
        raise LocalError(f"{path} does not exist: is {folder} the folder of a function app?")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("function_app", path)
    if spec is None or spec.loader is None:
        raise LocalError(f"{path} cannot be read as a Python module.")
    module = importlib.util.module_from_spec(spec)
    sys.modules["function_app"] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise LocalError(
            f"the app does not index: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"
        ) from error
    return module


def _app_of(module: ModuleType) -> FunctionRegister:
    apps = [value for value in vars(module).values() if isinstance(value, FunctionRegister)]
    if len(apps) != 1:
        raise LocalError(f"function_app.py must have exactly one FunctionApp at its top level; it has {len(apps)}.")
    return apps[0]


def _describe(function: DecoratedFunction, environ: Mapping[str, str], prefix: str) -> Function:
    name = str(function.get_function_name())
    bindings = [json.loads(binding) for binding in function.get_raw_bindings()]
    binding = next(binding for binding in bindings if binding["type"].endswith("Trigger"))
    others = {other["type"] for other in bindings} - {binding["type"], "http"}
    handler = function.get_user_function()
    if others:
        raise ValueError(f"{name}: this host models functions without other bindings than their trigger")
    if list(inspect.signature(handler).parameters) != [binding["name"]]:
        raise ValueError(f"{name}: it must take one parameter, {binding['name']}, the name in its trigger")
    check_annotations(handler, binding["name"], binding["type"])
    return Function(
        name=name,
        parameter=binding["name"],
        binding=binding["type"],
        trigger=_trigger(name, binding, environ, prefix),
        handler=handler,
    )


def _trigger(
    name: str, binding: dict[str, Any], environ: Mapping[str, str], prefix: str
) -> HttpTrigger | TimerTrigger | QueueTrigger:
    match binding["type"]:
        case "httpTrigger":
            route = Route.parse(binding["route"], binding.get("methods"), prefix=prefix)
            return HttpTrigger(route=route, level=binding["authLevel"].lower())
        case "timerTrigger":
            if binding.get("runOnStartup"):
                raise ValueError(f"{name}: this host models timers that do not run on startup")
            return TimerTrigger(schedule=Schedule.parse(_resolve(binding["schedule"], environ)))
        case "queueTrigger":
            queue_name = _resolve(binding["queueName"], environ).lower()
            return QueueTrigger(queue_name=queue_name, connection_string=_connection(binding["connection"], environ))
        case other:
            raise ValueError(f"{name}: this host does not model {other}")


def _resolve(text: str, environ: Mapping[str, str]) -> str:
    """Replace %NAMES% by the values of their settings."""

    def value(found: re.Match[str]) -> str:
        if not environ.get(found[1]):
            raise ValueError(f"{found[0]} does not resolve to a value: set {found[1]}")
        return environ[found[1]]

    return re.sub(r"%([^%]+)%", value, text)


def _connection(setting: str, environ: Mapping[str, str]) -> str:
    connection_string = environ.get(f"AzureWebJobs{setting}") or environ.get(setting)
    if not connection_string:
        raise ValueError(f"the storage connection {setting} is not set: it takes a connection string")
    return connection_string


def _refuse_conflicts(functions: list[Function]) -> None:
    routes: list[tuple[str, Route]] = []
    for name, route in _routes(functions):
        for other_name, other in routes:
            if route.conflicts_with(other):
                raise LocalError(
                    f"the app does not index: the route {route.template!r} of {name} conflicts with the route "
                    f"defined by function {other_name!r}"
                )
        routes.append((name, route))


def _routes(functions: list[Function]) -> Iterator[tuple[str, Route]]:
    for function in functions:
        if isinstance(function.trigger, HttpTrigger):
            yield function.name, function.trigger.route

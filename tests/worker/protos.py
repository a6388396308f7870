"""The messages between worker and host as plain objects, with the relevant fields of the protobuf messages.

The names are those of `FunctionRpc.proto`, public in the repository azure-functions-language-worker-protobuf.
"""

from types import SimpleNamespace
from typing import ClassVar


class TypedData(SimpleNamespace):
    """A value: at most one of `string`, `json`, `bytes`, `http` and others."""

    def WhichOneof(self, _group: str) -> str | None:
        """Return the name of the one field that is set."""
        return next(iter(vars(self)), None)


class ParameterBinding(SimpleNamespace):
    """The value of a parameter: `name` and `data`."""

    def WhichOneof(self, _group: str) -> str:
        """Return the field that means data in the message, not in shared memory."""
        return "data"


class StatusResult(SimpleNamespace):
    """The result of a request: `status`, and an `exception` after a failure."""

    Success: ClassVar = "Success"
    Failure: ClassVar = "Failure"


class BindingInfo(SimpleNamespace):
    """A binding's type and direction, in azure.functions' numbers."""

    undefined: ClassVar = None
    out: ClassVar = 1
    inout: ClassVar = 2


class RpcHttp(SimpleNamespace):
    """A request or an answer."""


class RpcException(SimpleNamespace):
    """The exception of a function."""


class WorkerMetadata(SimpleNamespace):
    """The name and version of the worker."""


class WorkerInitResponse(SimpleNamespace):
    """Whether the app could be indexed."""


class RpcFunctionMetadata(SimpleNamespace):
    """A function of the app, with the bindings as JSON."""


class FunctionMetadataResponse(SimpleNamespace):
    """All functions."""


class FunctionLoadResponse(SimpleNamespace):
    """Whether a function can be called."""


class InvocationResponse(SimpleNamespace):
    """The result of a call: `result`, and the `return_value` of an HTTP function."""

"""What the worker and the host say to each other, as plain objects: the fields of the protobuf messages that count.

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
    """What a parameter gets: `name` and `data`."""

    def WhichOneof(self, _group: str) -> str:
        """Say that the data is in the message and not in shared memory."""
        return "data"


class StatusResult(SimpleNamespace):
    """How something went: `status`, and an `exception` where it failed."""

    Success: ClassVar = "Success"
    Failure: ClassVar = "Failure"


class BindingInfo(SimpleNamespace):
    """A binding's type and direction, in azure.functions' own numbers."""

    undefined: ClassVar = None
    out: ClassVar = 1
    inout: ClassVar = 2


class RpcHttp(SimpleNamespace):
    """A request or an answer."""


class RpcException(SimpleNamespace):
    """What a function raised."""


class WorkerMetadata(SimpleNamespace):
    """Which worker it is."""


class WorkerInitResponse(SimpleNamespace):
    """Whether the app could be indexed."""


class RpcFunctionMetadata(SimpleNamespace):
    """A function of the app, with its bindings as JSON."""


class FunctionMetadataResponse(SimpleNamespace):
    """All functions."""


class FunctionLoadResponse(SimpleNamespace):
    """Whether a function is ready to be called."""


class InvocationResponse(SimpleNamespace):
    """What became of a call: `result`, and the `return_value` of an HTTP function."""

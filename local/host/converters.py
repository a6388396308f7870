"""azure.functions' own converters, which create the app's objects and decode results."""

import typing
from collections.abc import Callable
from typing import Any, TypeAlias

from azure.functions import get_binding_registry

#: A class of the library, which has no types for these.
Converter: TypeAlias = Any


def converter(binding: str) -> Converter:
    """Return the converter of a binding's type, for instance `httpTrigger`. Importing the library registers all."""
    return get_binding_registry().get(binding)  # type: ignore[no-untyped-call]


def check_annotations(handler: Callable[..., object], parameter: str, binding: str) -> None:
    """Raise ValueError if the worker would refuse a function for its annotations.

    The annotations are evaluated, so a type that is imported only for type checkers is not found.
    """
    try:
        annotations = typing.get_type_hints(handler)
    except NameError as error:
        raise ValueError(f"{handler.__name__}: {error}, which its annotations need when it runs") from error
    wrong = [
        f"{parameter}: {annotations[parameter]}"
        for accepts in [converter(binding).check_input_type_annotation]
        if parameter in annotations and not accepts(annotations[parameter])
    ]
    if binding == "httpTrigger" and "return" in annotations:
        accepts = converter("http").check_output_type_annotation
        wrong += [] if accepts(annotations["return"]) else [f"-> {annotations['return']}"]
    if wrong:
        raise ValueError(f"{handler.__name__}: {binding} does not go with {', '.join(wrong)}")

"""The type of JSON in tests."""

from typing import Any, TypeAlias

#: A value as `json.loads` returns it. A test reads its fields without checks: a wrong shape fails the test.
Json: TypeAlias = Any

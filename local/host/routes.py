"""Routing of HTTP requests to functions, by ASP.NET Core's route templates as Azure uses them."""

import re
from dataclasses import dataclass
from typing import Self

_PARAMETER = re.compile(r"\{(?P<name>[A-Za-z_]\w*)(?P<optional>\??)\}")
_RESERVED = ("admin", "runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A template with its methods. The letter case of fixed parts and a final slash do not matter."""

    #: The template as written, without the prefix of host.json.
    template: str
    #: The prefix, without slashes around it.
    prefix: str
    #: The methods in upper case, or None for all.
    methods: frozenset[str] | None
    #: The pattern of a matching path.
    pattern: re.Pattern[str]

    @classmethod
    def parse(cls, template: str, methods: list[str] | None, *, prefix: str) -> Self:
        """Parse a template. Raises ValueError if Azure would refuse the template, or if this host does not model it."""
        if template.strip("/").lower().startswith(_RESERVED):
            raise ValueError(f"the route {template!r} conflicts with one or more built in routes")
        segments = [segment for segment in f"{prefix}/{template}".split("/") if segment]
        pattern = "".join(map(_segment_pattern, segments))
        return cls(
            template=template.strip("/"),
            prefix=prefix.strip("/"),
            methods=frozenset(method.upper() for method in methods) if methods else None,
            pattern=re.compile(pattern + "/?", re.IGNORECASE),
        )

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return the parameters of a matching request, without missing optional ones, or None for another request."""
        found = self.pattern.fullmatch(path)
        if found is None or (self.methods is not None and method.upper() not in self.methods):
            return None
        return {name: value for name, value in found.groupdict().items() if value is not None}

    def conflicts_with(self, other: "Route") -> bool:
        """Return whether Azure refuses to load both: they have the same template, and a method in common."""
        if self.template.lower() != other.template.lower():
            return False
        return self.methods is None or other.methods is None or bool(self.methods & other.methods)


def _segment_pattern(segment: str) -> str:
    parameter = _PARAMETER.fullmatch(segment)
    if parameter:
        value = rf"/(?P<{parameter['name']}>[^/]+)"
        return f"(?:{value})?" if parameter["optional"] else value
    if "{" in segment or "}" in segment:
        raise ValueError(f"the route segment {segment!r} is not modelled here: use text, {{name}} or {{name?}}")
    return "/" + re.escape(segment)

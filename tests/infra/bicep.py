"""Reads Bicep by its grammar, and finds what the compiler would find first: it cannot be had where this is built.

What it does not know: types, the properties of resources, and what Azure thinks of a value.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

#: How roles are written.
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_PARSER = Parser(Language(tree_sitter_bicep.language()))

_DECLARATIONS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
}

#: Bicep's own functions, as far as the templates use them: a name that is not here is misspelt, or is to be added.
_FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        """
        allowed bool cidrSubnet contains description empty environment fail filter guid int items join length
        loadJsonContent loadTextContent map maxLength maxValue minLength minValue
        readEnvironmentVariable replace resourceGroup secure split string subscription
        subscriptionResourceId toLower toObject union uniqueString
        """,
    )
)

#: The grammar knows no assignment to a parameter, which is all that a .bicepparam holds: it reads them as variables.
_ASSIGNMENT = re.compile(r"^param (\w+) =", re.MULTILINE)
_USING = re.compile(r"^using '([^']+)'$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One declaration of a file."""

    #: param, var, resource, module or output.
    kind: str
    #: Its name.
    name: str
    #: All of it.
    node: Node
    #: The decorators before it: `secure`, `description`.
    decorators: frozenset[str]

    @property
    def is_required(self) -> bool:
        """Tell of a parameter whether it has to be given."""
        return self.kind == "param" and not any(child.type == "=" for child in self.node.children)

    def names_used(self) -> Iterator[str]:
        """Find the names that it refers to; those that a loop or a lambda of its own makes are left out."""
        bound = set(_bound(self.node))
        declared = next(child for child in self.node.children if child.type == "identifier")
        found = (node for node in _references(self.node) if node != declared)
        yield from (text(node) for node in found if text(node) not in bound)


@dataclass(slots=True, kw_only=True)
class Template:
    """One file."""

    path: Path
    root: Node
    #: By kind and name, since an output may be called as a variable is.
    declarations: dict[tuple[str, str], Declaration] = field(default_factory=dict)
    #: The file that a .bicepparam is for.
    using: Path | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Parse a file; what cannot be parsed is among its nodes."""
        source = path.read_text(encoding="utf-8")
        using = _USING.search(source) if path.suffix == ".bicepparam" else None
        if using is not None:
            source = _USING.sub("", _ASSIGNMENT.sub(r"var \1 =", source))
        template = cls(path=path, root=_PARSER.parse(source.encode()).root_node)
        template.using = path.parent / using[1] if using is not None else None
        decorators: frozenset[str] = frozenset()
        for node in template.root.children:
            if node.type == "decorators":
                decorators = frozenset(text(each) for each in walk(node) if each.type == "identifier")
            elif node.type in _DECLARATIONS:
                name = next(text(each) for each in node.children if each.type == "identifier")
                kind = _DECLARATIONS[node.type]
                template.declarations[kind, name] = Declaration(kind=kind, name=name, node=node, decorators=decorators)
                decorators = frozenset()
        return template

    def of_kind(self, *kinds: str) -> dict[str, Declaration]:
        """Select declarations by their kinds."""
        return {name: each for (kind, name), each in self.declarations.items() if kind in kinds}

    def strings(self) -> Iterator[str]:
        """Find every string that has no expression in it."""
        yield from (text(node)[1:-1] for node in walk(self.root) if node.type == "string")


def walk(node: Node) -> Iterator[Node]:
    """Go through a tree, parents first."""
    yield node
    for child in node.children:
        yield from walk(child)


def text(node: Node) -> str:
    """Return what stands there."""
    return (node.text or b"").decode()


def properties(node: Node) -> dict[str, Node]:
    """Read an object: its keys, with the values."""
    found = {}
    for child in node.children:
        if child.type == "object_property":
            key, value = child.named_children[0], child.named_children[-1]
            found[text(key).strip("'")] = value
    return found


def body(declaration: Declaration) -> dict[str, Node]:
    """Read the object of a module or a resource, whatever condition or loop stands before it."""
    return next((properties(node) for node in walk(declaration.node) if node.type == "object"), {})


def path_of(module: Declaration) -> str:
    """Read the path of a module."""
    return next(text(node)[1:-1] for node in module.node.children if node.type == "string")


def known_functions() -> frozenset[str]:
    """Name the functions that templates may call."""
    return _FUNCTIONS


def _bound(node: Node) -> Iterator[str]:
    for each in walk(node):
        if each.type in ("loop_variable", "loop_enumerator"):
            yield text(each)
        elif each.type == "for_statement":
            yield from (text(child) for child in each.children[:3] if child.type in ("identifier", "loop_variable"))
        elif each.type == "lambda_expression":
            yield text(each.children[0])


def _references(node: Node) -> Iterator[Node]:
    for child in node.children:
        is_key = node.type == "object_property" and child == node.children[0]
        if child.type == "identifier" and not is_key:
            yield child
        elif not is_key or child.type != "identifier":
            yield from _references(child)

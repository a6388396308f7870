"""What is wrong with a folder of Bicep: each fault is one line, by file and line."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tree_sitter import Node

from tests.infra.bicep import GUID, Declaration, Template, body, known_functions, path_of, properties, text, walk

_LOADED = re.compile(r"\bload(?:Text|Json)Content\('([^']+)'\)")
_OUTPUT = re.compile(r"\b(\w+)!?\.outputs\.(\w+)")


def faults(folder: Path) -> list[str]:
    """Read every file of a folder and list what is wrong, in the order of the files."""
    templates = [Template.read(path) for path in sorted(folder.rglob("*.bicep*"))]
    found = [f"{template.path.name}:{line}: {fault}" for template in templates for line, fault in _of_one(template)]
    return found + list(_repeated_roles(templates))


def _of_one(template: Template) -> Iterator[tuple[int, str]]:
    for check in (_unparsed, _undefined, _unused, _modules, _loaded, _outputs_of_modules, _given, _secrets):
        for node, fault in check(template):
            yield node.start_point[0] + 1, fault


def _unparsed(template: Template) -> Iterator[tuple[Node, str]]:
    for node in walk(template.root):
        if node.is_error or node.is_missing:
            yield node, "does not parse"


def _undefined(template: Template) -> Iterator[tuple[Node, str]]:
    names = known_functions() | template.of_kind("param", "var", "resource", "module").keys()
    for each in template.declarations.values():
        for name in each.names_used():
            if name not in names:
                yield each.node, f"{name} is not defined"


def _unused(template: Template) -> Iterator[tuple[Node, str]]:
    if template.using is not None:
        return
    used = {name for each in template.declarations.values() for name in each.names_used()}
    for name, each in template.of_kind("param", "var").items():
        if name not in used:
            yield each.node, f"{name} is used nowhere"


def _modules(template: Template) -> Iterator[tuple[Node, str]]:
    for module in template.of_kind("module").values():
        path = template.path.parent / path_of(module)
        if not path.is_file():
            yield module.node, f"{path_of(module)} does not exist"
            continue
        given = properties(body(module)["params"]) if "params" in body(module) else {}
        for fault in _against(Template.read(path), set(given)):
            yield module.node, f"module {module.name}: {fault}"


def _loaded(template: Template) -> Iterator[tuple[Node, str]]:
    for each in template.declarations.values():
        for name in _LOADED.findall(text(each.node)):
            if not (template.path.parent / name).is_file():
                yield each.node, f"{name} does not exist"


def _given(template: Template) -> Iterator[tuple[Node, str]]:
    """Hold a .bicepparam against the file that it is for."""
    if template.using is None:
        return
    if not template.using.is_file():
        yield template.root, f"{template.using.name} does not exist"
        return
    for fault in _against(Template.read(template.using), set(template.of_kind("var"))):
        yield template.root, fault


def _against(target: Template, given: set[str]) -> Iterator[str]:
    params = target.of_kind("param")
    yield from (f"{name} is no parameter of {target.path.name}" for name in sorted(given - params.keys()))
    required = {name for name, each in params.items() if each.is_required}
    yield from (f"{name} of {target.path.name} is not given" for name in sorted(required - given))


def _outputs_of_modules(template: Template) -> Iterator[tuple[Node, str]]:
    modules = template.of_kind("module")
    for each in template.declarations.values():
        for name, output in _OUTPUT.findall(text(each.node)):
            path = template.path.parent / path_of(modules[name]) if name in modules else None
            if path is not None and path.is_file() and output not in Template.read(path).of_kind("output"):
                yield each.node, f"{path.name} has no output {output}"


def _secrets(template: Template) -> Iterator[tuple[Node, str]]:
    """Look at outputs: they are kept with the deployment, readable for whoever may read that."""
    secret = _tainted(template)
    for each in template.of_kind("output").values():
        if secret & set(each.names_used()):
            yield each.node, f"output {each.name} shows a secret"
        if _asks_for_keys(each):
            yield each.node, f"output {each.name} lists keys"


def _tainted(template: Template) -> set[str]:
    """Find the secure parameters, and the variables that any of them or a listing of keys went into."""
    secret = {name for name, each in template.of_kind("param").items() if "secure" in each.decorators}
    variables = template.of_kind("var")
    for _ in variables:
        secret |= {name for name, each in variables.items() if secret & set(each.names_used()) or _asks_for_keys(each)}
    return secret


def _asks_for_keys(declaration: Declaration) -> bool:
    calls = (node for node in walk(declaration.node) if node.type == "call_expression")
    return any(re.match(r"([\w!]+\.)*list[A-Z]\w*\(|([\w!]+\.)+getSecret\(", text(call)) for call in calls)


def _repeated_roles(templates: Sequence[Template]) -> Iterator[str]:
    """Each role stands in one place, with its name beside it: a GUID that is there twice was copied."""
    places = Counter(string for each in templates for string in each.strings() if GUID.fullmatch(string))
    yield from (f"the role {guid} is written {number} times" for guid, number in places.items() if number > 1)

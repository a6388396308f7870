"""The import of the app, which every cold start waits for, against importing the bare libraries that it names."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from bench.composed import SIGNING_KEY
from bench.measuring import Figures, Pair, Scale

_REPOSITORY = Path(__file__).parents[1]
_SETTINGS = {
    "PATH": os.defpath,
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "SPEECH_ENDPOINT": "https://speech.example.com",
    "SPEECH_KEY": "benchmark",
    "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
    "BRIDGE_POLL_SCHEDULE": "*/10 * * * * *",
}
_TIMED = "import time; began = time.perf_counter()\n{imports}\nprint(time.perf_counter() - began)"

#: What is installed beside the app, never with it.
_NOT_DEPLOYED = ("bridge/cli/", "bridge/__main__.py")


def measure(scale: Scale) -> Figures:
    """Import both in turn, in fresh interpreters whose bytecode is written."""
    bare = "\n".join(f"import {name}" for name in libraries())
    pair = Pair.alternating(lambda: _import("import function_app"), lambda: _import(bare), scale.imports)
    return {
        "import.seconds": median(pair.first),
        "import.libraries": median(pair.second),
        "import.ratio": pair.ratio,
    }


def libraries() -> list[str]:
    """List the modules outside of the project that the deployed code names, by its import statements."""
    files = [_REPOSITORY / "function_app.py", *(_REPOSITORY / "bridge").rglob("*.py")]
    deployed = [each for each in files if not str(each.relative_to(_REPOSITORY)).startswith(_NOT_DEPLOYED)]
    found = {name for each in deployed for name in _imports(ast.parse(each.read_text(encoding="utf-8")))}
    return sorted(name for name in found if name.partition(".")[0] not in ("bridge", "__future__"))


def _imports(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def costs() -> list[tuple[str, float]]:
    """List what each module costs by itself, in milliseconds, the dearest packages first."""
    output = _run(["-X", "importtime", "-c", "import function_app"]).stderr
    spent: dict[str, float] = {}
    for line in output.splitlines():
        own, _, name = (part.strip() for part in line.removeprefix("import time:").split("|"))
        if own.isdecimal():
            package = name if name.startswith("bridge") else ".".join(name.split(".")[:2])
            spent[package] = spent.get(package, 0.0) + int(own) / 1000
    return sorted(spent.items(), key=lambda each: -each[1])


def _import(statements: str) -> float:
    return float(_run(["-c", _TIMED.format(imports=statements)]).stdout)


def _run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=_REPOSITORY, env=_SETTINGS, capture_output=True, text=True, check=True
    )

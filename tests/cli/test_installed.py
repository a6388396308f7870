"""The installed command: name, libraries, and the message for a missing library."""

import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from bridge import __version__
from bridge.cli.app import COMMANDS, app, summary
from bridge.cli.context import EXAMPLES, PROGRAM
from bridge.cli.errors import Exit
from bridge.domain.keyring import Keyring
from bridge.settings import read_settings
from local.settings import REPOSITORY
from tests.support.cli import type_in
from tests.support.harness import ENVIRONMENT

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PAGE = (REPOSITORY / "docs" / "cli.md").read_text()

#: Hides a library and runs the command line.
WITHOUT = """
import sys
sys.modules[sys.argv.pop()] = None
from bridge.cli.__main__ import main
sys.exit(main())
"""


def test_the_command_is_the_module() -> None:
    """The command has the name of the wheel."""
    module, _, name = PROJECT["project"]["scripts"][PROGRAM].partition(":")

    assert getattr(import_module(module), name) is import_module("bridge.cli.__main__").main
    assert PROJECT["project"]["name"] == PROGRAM


def test_the_wheel_accepts_the_library_versions_of_the_tests() -> None:
    needed = map(Requirement, PROJECT["project"]["dependencies"])

    assert [str(each) for each in needed if not each.specifier.contains(version(each.name))] == []


@pytest.mark.parametrize("needed", PROJECT["project"]["dependencies"])
def test_a_missing_library_is_named_with_the_command_to_install(needed: str) -> None:
    """One line without a traceback."""
    name = Requirement(needed).name
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, name], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == f"the command line needs {name}: `make start` installs it here, and `pip install .` anywhere\n"
    )


def test_every_command_is_documented() -> None:
    """Each command has a description."""
    names = [each.name for each in app.registered_commands]

    assert len(names) == len(EXAMPLES) - 2
    assert [name for name in EXAMPLES if f"| `{name}" not in PAGE] == []
    for name in names:
        output = type_in(str(name), "--help")
        assert (output.exit, "Usage:" in output.out) == (0, True)


@pytest.mark.parametrize("command", ["", "register", "keys", "keys new"])
def test_help_is_a_command_and_an_option(command: str) -> None:
    ways = [type_in("help", *command.split()), *(type_in(*command.split(), option) for option in ("-h", "--help"))]

    assert {(each.exit, each.out) for each in ways} == {(0, ways[0].out)}
    assert f"Usage: {PROGRAM} {command}".strip() in ways[0].out


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_the_list_of_commands_cuts_no_summary(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    shown = " ".join(type_in("--help").out.partition("Commands:")[2].split())

    assert "..." not in shown
    assert [name for name, command in COMMANDS.items() if " " not in name and summary(command) not in shown] == []


@pytest.mark.parametrize("code", list(Exit))
def test_every_exit_code_is_documented_and_in_the_help(code: Exit) -> None:
    """By its number."""
    assert f"| {code.value} |" in PAGE
    output = " ".join(type_in("--help").out.partition("Exit codes:")[2].split())
    assert f" {code.value} " in f" {output} "


def test_version_prints_both_versions() -> None:
    """Both the local version and the bridge's version, since one repository contains both."""
    output = type_in("--version")

    assert (output.exit, output.out) == (0, f"{PROGRAM} {__version__}\n")


def test_the_bridge_accepts_a_new_key() -> None:
    """Each run returns another key, alone on a line. The JSON form contains the public key to publish."""
    made = [type_in("keys", "new").out for _ in range(2)]
    as_json = type_in("--json", "keys", "new").json

    assert made[0] != made[1]
    assert [len(each.splitlines()) for each in made] == [1, 1]
    settings = read_settings({**ENVIRONMENT, "BRIDGE_SIGNING_KEYS": f"{made[0].strip()},{as_json['key']}"})
    assert len(settings.signing_keys) == 2
    [public] = Keyring(settings.signing_keys[1:]).public_keys()
    assert (as_json["id"], as_json["publicKey"]) == (public.id, public.text)

"""What is installed: the script, the extra that it needs, and one line where that is missing."""

import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from bridge import __version__
from bridge.cli.app import app
from bridge.cli.errors import Exit
from bridge.cli.examples import EXAMPLES
from bridge.core.signing import Keyring
from bridge.settings import read_settings
from local.settings import REPOSITORY
from tests.support.cli import type_in
from tests.support.world import ENVIRONMENT

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
README = (REPOSITORY / "README.md").read_text()
SECTION = README.split("\n## From the command line\n", 1)[1].split("\n## ", 1)[0]

#: Hide what the extra brings, and run the command line.
WITHOUT = """
import sys
sys.modules["typer"] = None
from bridge.__main__ import main
sys.exit(main())
"""


def test_the_script_is_the_module() -> None:
    """`bridge` and `python -m bridge` are one."""
    module, _, name = PROJECT["project"]["scripts"]["bridge"].partition(":")

    assert getattr(import_module(module), name) is import_module("bridge.__main__").main


def test_the_extra_is_what_the_tests_run_with() -> None:
    """In its range, and among what is installed to work on this."""
    extra = PROJECT["project"]["optional-dependencies"]["cli"]
    listed = (REPOSITORY / "requirements-dev.in").read_text().splitlines()

    assert [each for each in extra if each not in listed] == []
    assert all(Requirement(each).specifier.contains(version(Requirement(each).name)) for each in extra)


def test_without_the_extra_it_says_what_to_install() -> None:
    """One line, no traceback."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "the command line needs typer and rich: `make start` installs them, and so does pip install '.[cli]'\n"
    )


def test_every_command_is_in_the_readme() -> None:
    """And says of itself what it does."""
    names = [each.name for each in app.registered_commands]

    assert len(names) == len(EXAMPLES) - 2
    assert [name for name in EXAMPLES if f"| `{name}" not in SECTION] == []
    for name in names:
        said = type_in(str(name), "--help")
        assert (said.exit, "Usage:" in said.out) == (0, True)


@pytest.mark.parametrize("code", list(Exit))
def test_every_exit_code_is_in_the_readme_and_in_the_help(code: Exit) -> None:
    """By its number."""
    assert f"| {code.value} |" in SECTION
    said = " ".join(type_in("--help").out.partition("Exit codes:")[2].split())
    assert f" {code.value} " in f" {said} "


def test_it_says_which_version_it_is() -> None:
    """By itself, and that of the bridge, since both come from one repository."""
    said = type_in("--version")

    assert (said.exit, said.out) == (0, f"speech-webhook-bridge {__version__}\n")


def test_a_new_key_is_one_that_the_bridge_takes() -> None:
    """Each time another one, alone on its line; as JSON with the public key that will be published."""
    made = [type_in("keys", "new").out for _ in range(2)]
    as_json = type_in("--json", "keys", "new").json

    assert made[0] != made[1]
    assert [len(each.splitlines()) for each in made] == [1, 1]
    settings = read_settings({**ENVIRONMENT, "BRIDGE_SIGNING_KEYS": f"{made[0].strip()},{as_json['key']}"})
    assert len(settings.signing_keys) == 2
    [public] = Keyring(settings.signing_keys[1:]).public_keys()
    assert (as_json["id"], as_json["publicKey"]) == (public.id, public.text)

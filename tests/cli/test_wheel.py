"""The wheel of the command line, installed alone on each Python of this machine, used against a started app."""

import json
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from bridge import __version__
from bridge.cli.context import EXAMPLES, PROGRAM
from local.settings import REPOSITORY, app_environment
from tests.local.started import Started, free_ports
from tests.support.wheel import PYTHONS, Installed, build, install


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel once."""
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Installed]:
    """Return a function from a Python version to an environment with the wheel alone. Each environment is made once."""
    return cache(lambda version: install(version, wheel, tmp_path_factory.mktemp("environment")))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Start like `make start`, with short operations."""
    started = Started(
        {
            "LOCAL_DIR": str(tmp_path_factory.mktemp("state")),
            "PORT": str(free_ports(6)),
            "FAKE_SPEECH_DURATIONS": "1",
            "FAKE_SPEECH_UNKNOWN": "succeed",
            "BRIDGE_POLL_SCHEDULE": "* * * * * *",
            "BRIDGE_POLL_INTERVAL": "1s",
        }
    )
    try:
        started.until("Ctrl-C stops everything.")
        yield started
    finally:
        started.clean_up()


def test_wheel_holds_modules_alone(wheel: Path) -> None:
    """No test, no template, nothing of the page; each file is one of the repository. Type checkers find its types."""
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if ".dist-info/" not in name]

        assert all((REPOSITORY / name).read_bytes() == archive.read(name) for name in files)
    assert [name for name in files if Path(name).suffix != ".py"] == ["bridge/py.typed"]
    assert {name.partition("/")[0] for name in files} == {"bridge"}


@pytest.mark.parametrize("version", PYTHONS)
def test_wheel_alone_does_the_work_of_a_client(
    installed: Callable[[str], Installed], version: str, start: Started, tmp_path: Path
) -> None:
    """Print the help of each command, register and wait, list, verify, and run `doctor`."""
    alone = installed(version)
    receiver = f"http://127.0.0.1:{start.settings.receiver_port}"
    own = {"BRIDGE_URL": f"http://127.0.0.1:{start.settings.port}"}
    url, operation = f"{receiver}/callback", f"on-{version}"

    helps = alone.type_lines("--version", *(f"{command} --help" for command in EXAMPLES), cwd=tmp_path)
    registered = alone.type_in(
        *("register", "--operation-id", operation, "--callback-url", url, "--wait"), cwd=tmp_path, **own
    )
    listed = alone.type_in("list", "--operation-id", operation, "--json", cwd=tmp_path, **own)
    verified = alone.type_in("verify", f"{receiver}/callbacks", "--callback-url", url, cwd=tmp_path, **own)
    doctor = alone.type_in("doctor", "--json", cwd=tmp_path, **own)

    assert [each for each in alone.distributions() if each.startswith("azure")] == []
    assert (helps.returncode, helps.stderr) == (0, "")
    assert helps.stdout.startswith(f"{PROGRAM} {__version__}\n")
    assert [each for lines in EXAMPLES.values() for each in lines if f"  {PROGRAM} {each}\n" not in helps.stdout] == []
    assert (registered.returncode, registered.stderr) == (0, ""), registered.stdout
    assert "  delivered  Succeeded; attempt 1: HTTP 204 at " in registered.stdout
    assert [each["state"] for each in json.loads(listed.stdout)["value"]] == ["delivered"]
    assert (verified.returncode, verified.stdout.splitlines()[-1]) == (0, "genuine"), verified.stdout
    assert (doctor.returncode, json.loads(doctor.stdout)["healthy"]) == (0, True), doctor.stdout


def test_shell_completion_is_that_of_the_command(installed: Callable[[str], Installed], tmp_path: Path) -> None:
    alone = installed(PYTHONS[0])

    script = alone.type_in("--show-completion", "bash", cwd=tmp_path)
    words = alone.type_in(
        cwd=tmp_path, _SPEECH_WEBHOOKS_COMPLETE="complete_bash", COMP_WORDS=f"{PROGRAM} re", COMP_CWORD="1"
    )

    assert (script.returncode, PROGRAM in script.stdout) == (0, True), script.stderr
    assert words.stdout.split() == ["register", "redeliver"]


def test_doctor_examines_storage_once_its_extra_is_installed(
    installed: Callable[[str], Installed], start: Started, tmp_path: Path
) -> None:
    """The command that `doctor` prints is sufficient: pip keeps the installed command line and adds the libraries."""
    own = app_environment(start.settings, {"BRIDGE_URL": f"http://127.0.0.1:{start.settings.port}"})
    alone, extra = installed(PYTHONS[0]), f"{PROGRAM}[server]"

    before = alone.type_in("doctor", cwd=tmp_path, **own)
    alone.install(extra)
    after = alone.type_in("doctor", cwd=tmp_path, **own)

    assert (before.returncode, before.stderr) == (0, ""), before.stdout
    assert f"Install it: pip install '{extra}'" in before.stdout
    assert (after.returncode, after.stderr) == (0, ""), after.stdout
    assert "skipped" not in after.stdout
    shown = ("own settings", "storage", "queue", "speech default")
    assert [name for name in shown if f"ok       {name} " not in after.stdout] == []

"""Settings of the local start."""

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from local.azurite import Ports
from local.errors import LocalError
from local.settings import REPOSITORY, Settings, app_environment, write_local_settings
from local.upstream import DEFAULT_DURATIONS, Rules, Unknown


def test_everything_has_a_default() -> None:
    """`make start` requires no setting."""
    settings = Settings.read({})

    assert settings == Settings(
        folder=REPOSITORY / ".local",
        port=7071,
        app=REPOSITORY,
        rules=Rules(
            durations=DEFAULT_DURATIONS,
            seed=0,
            unknown=Unknown.NOT_FOUND,
            state=REPOSITORY / ".local" / "fake-speech.json",
        ),
        hosts=frozenset(),
        log_is_shown=False,
    )
    assert (settings.receiver_port, settings.upstream_port) == (7072, 7073)
    assert settings.azurite_ports == Ports(blob=7074, queue=7075, table=7076)


def test_another_port_moves_all_others() -> None:
    """A second start needs only another port and another folder."""
    settings = Settings.read({"PORT": "8000", "LOCAL_DIR": "/elsewhere"})

    assert settings.folder == Path("/elsewhere")
    assert (settings.receiver_port, settings.azurite_ports.table) == (8001, 8005)


@pytest.mark.parametrize("port", ["x", "-1", "0", "65531", "٣"])
def test_invalid_port_is_rejected(port: str) -> None:
    """The error is one line."""
    with pytest.raises(LocalError, match=r"PORT is .*: it must be a number"):
        Settings.read({"PORT": port})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("FAKE_SPEECH_DURATIONS", "soon"),
        ("FAKE_SPEECH_SEED", "x"),
        ("FAKE_SPEECH_SEED", "-1"),
        ("FAKE_SPEECH_UNKNOWN", "fail"),
        ("FAKE_SPEECH_UNKNOWN", "Succeed"),
        ("LOG", "text"),
    ],
)
def test_value_that_a_setting_cannot_have_is_refused(name: str, text: str) -> None:
    """With the variable's name."""
    with pytest.raises(LocalError, match=name):
        Settings.read({name: text})


def test_app_gets_the_settings_for_this_machine(tmp_path: Path) -> None:
    """Callbacks may go to this machine only."""
    settings = Settings.read({"LOCAL_DIR": str(tmp_path)})

    environment = app_environment(settings, {"PATH": "/bin"})

    key = environment.pop("BRIDGE_SIGNING_KEYS")
    assert len(base64.b64decode(key)) == 32
    assert environment == {
        "PATH": "/bin",
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "PYTHON_THREADPOOL_THREAD_COUNT": "32",
        "AzureWebJobsStorage": settings.azurite_ports.connection_string,
        "SPEECH_ENDPOINT": "http://127.0.0.1:7073",
        "SPEECH_KEY": "local-key",
        "SPEECH_REQUESTS_PER_SECOND": "10",
        "BRIDGE_POLL_INTERVAL": "10s",
        "BRIDGE_POLL_SCHEDULE": "*/10 * * * * *",
        "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
        "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
        "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
        "BRIDGE_CALLBACK_KEEP_ANSWERS": "true",
    }


def test_the_environment_overrides_defaults(tmp_path: Path) -> None:
    """An empty value counts as absent."""
    output = {
        "BRIDGE_POLL_SCHEDULE": "0 * * * * *",
        "AzureWebJobsStorage": "mine",
        "BRIDGE_SIGNING_KEYS": "my-key",
        "BRIDGE_CALLBACK_ALLOW_HTTP": "",
    }

    environment = app_environment(Settings.read({"LOCAL_DIR": str(tmp_path)}), output)

    assert environment["BRIDGE_POLL_SCHEDULE"] == "0 * * * * *"
    assert environment["AzureWebJobsStorage"] == "mine"
    assert environment["BRIDGE_SIGNING_KEYS"] == "my-key"
    assert environment["BRIDGE_CALLBACK_ALLOW_HTTP"] == "true"
    assert not (tmp_path / "signing-key").exists()


def test_key_of_the_fake_speech_is_not_given_to_a_real_endpoint(tmp_path: Path) -> None:
    """A real endpoint has another key, or uses an identity."""
    output = {"SPEECH_ENDPOINT": "https://x.cognitiveservices.azure.com"}

    assert "SPEECH_KEY" not in app_environment(Settings.read({"LOCAL_DIR": str(tmp_path)}), output)


def test_signing_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    """Receivers keep their secrets across restarts."""
    settings = Settings.read({"LOCAL_DIR": str(tmp_path / "new")})

    first, second = (app_environment(settings, {})["BRIDGE_SIGNING_KEYS"] for _ in range(2))

    assert first == second
    assert stat.S_IMODE((tmp_path / "new" / "signing-key").stat().st_mode) == 0o600


def test_local_settings_are_in_the_format_of_func_start(tmp_path: Path) -> None:
    """The file has all settings that are not inherited. Only the owner can read the file."""
    path = tmp_path / "local.settings.json"

    write_local_settings(path, {"PATH": "/bin", "SPEECH_KEY": "key"}, inherited={"PATH": "/bin"})

    assert json.loads(path.read_text()) == {"IsEncrypted": False, "Values": {"SPEECH_KEY": "key"}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_existing_local_settings_are_kept(tmp_path: Path) -> None:
    """The file may have been written by hand."""
    path = tmp_path / "local.settings.json"
    path.write_text("mine")

    with pytest.raises(LocalError, match=r"local\.settings\.json already exists"):
        write_local_settings(path, {"SPEECH_KEY": "key"}, inherited={})

    assert path.read_text() == "mine"


def test_storage_prints_the_connection_string_of_the_storage_that_start_starts() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local", "storage"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PORT": "8071"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"{Ports(blob=8074, queue=8075, table=8076).connection_string}\n"

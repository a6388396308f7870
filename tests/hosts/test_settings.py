"""Missing or wrong settings: the app stays indexed and names each one, on the local host and on Microsoft's."""

from pathlib import Path

import pytest
import requests

from bridge import __version__
from local.azurite import Azurite
from local.upstream import Upstream
from tests.support.hosts import KEY, MAX_WAIT, Kind, app_settings, start_host


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ({"SPEECH_ENDPOINT": ""}, {"SPEECH_ENDPOINT"}),
        (
            {
                "SPEECH_ENDPOINT": "nonsense",
                "BRIDGE_SIGNING_KEYS": "short",
                "BRIDGE_RETENTION": "soon",
                "BRIDGE_SOURCES": "[",
            },
            {"SPEECH_ENDPOINT", "BRIDGE_SIGNING_KEYS", "BRIDGE_RETENTION", "BRIDGE_SOURCES"},
        ),
    ],
    ids=["missing", "wrong, each kind"],
)
def test_every_wrong_setting_is_named_except_by_health(
    kind: Kind, azurite: Azurite, tmp_path: Path, own: dict[str, str], named: set[str]
) -> None:
    with Upstream.start() as upstream:
        environ = app_settings(azurite, upstream) | own
    environ = {name: value for name, value in environ.items() if value}

    with start_host(kind, tmp_path, environ) as host:
        status = requests.get(f"{host.url}/api/status", headers={"x-functions-key": KEY}, timeout=MAX_WAIT)
        registered = requests.post(f"{host.url}/api/registrations", headers={"x-functions-key": KEY}, timeout=MAX_WAIT)
        health = requests.get(f"{host.url}/api/health", timeout=MAX_WAIT)
        stranger = requests.get(f"{host.url}/api/status", timeout=MAX_WAIT)

    assert (status.status_code, registered.status_code, stranger.status_code) == (503, 503, 401)
    assert {each["target"] for each in status.json()["error"]["details"]} == named
    assert (health.status_code, health.json()) == (503, {"status": "misconfigured", "version": __version__})


@pytest.mark.parametrize("schedule", ["hourly", None])
def test_invalid_schedule_is_named_by_every_call_on_microsofts_host(
    azurite: Azurite, tmp_path: Path, schedule: str | None
) -> None:
    """The local host does not start (see `tests/local/test_index.py`)."""
    with Upstream.start() as upstream:
        environ = app_settings(azurite, upstream)
    environ.pop("BRIDGE_POLL_SCHEDULE")
    if schedule is not None:
        environ["BRIDGE_POLL_SCHEDULE"] = schedule

    with start_host("microsoft", tmp_path, environ) as host:
        status = requests.get(f"{host.url}/api/status", headers={"x-functions-key": KEY}, timeout=MAX_WAIT)

    assert status.status_code == 503
    assert [each["target"] for each in status.json()["error"]["details"]] == ["BRIDGE_POLL_SCHEDULE"]

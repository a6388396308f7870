"""The app on its host, with the settings of the proof and a clock that can move ahead at each start."""

import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from local.azurite import Azurite
from local.host.process import HostProcess
from local.settings import REPOSITORY
from local.upstream import Upstream
from tests.support.harness import SIGNING_KEY

_LATER = """
import importlib.util, os
from datetime import timedelta

from bridge import dependencies

ahead, real_clock = timedelta(seconds=float(os.environ["PROVE_AHEAD"])), dependencies.real_clock
dependencies.real_clock = lambda: real_clock() + ahead
spec = importlib.util.spec_from_file_location("triggers", os.path.join(os.environ["PROVE_APP"], "function_app.py"))
triggers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(triggers)
app = triggers.app
"""


def environment(azurite: Azurite, upstream: Upstream, **more: str) -> dict[str, str]:
    """Return the environment of the app."""
    return {
        "PATH": "/usr/bin:/bin",
        "AzureWebJobsStorage": azurite.connection_string,
        "SPEECH_ENDPOINT": upstream.endpoint,
        "SPEECH_KEY": upstream.key,
        "SPEECH_REQUESTS_PER_SECOND": "100",
        "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
        "BRIDGE_POLL_SCHEDULE": "* * * * * *",
        "BRIDGE_POLL_INTERVAL": "1s",
        "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
        "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
        "PYTHON_THREADPOOL_THREAD_COUNT": "32",
        **more,
    }


class LaterApp:
    """The app on one port. Each start moves the app's clock ahead by `step`.

    A step longer than any wait after a kill makes the consequences visible in a short test. The clock keeps its normal
    speed, so leases keep their length.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], step: timedelta) -> None:
        self._folder = folder
        self._environ = {**environ, "PROVE_APP": str(REPOSITORY)}
        self._step = step
        self._starts = 0
        folder.mkdir(parents=True)
        shutil.copy(REPOSITORY / "host.json", folder)
        (folder / "function_app.py").write_text(_LATER)
        self._process = self._start(0)

    @property
    def url(self) -> str:
        """The URL of the registrations."""
        return f"http://127.0.0.1:{self._process.port}/api"

    def kill(self) -> None:
        """Kill the app with SIGKILL and start the app again on the same port."""
        self._process.kill()
        self._process = self._start(self._process.port)

    def stop(self) -> None:
        """Stop the app gracefully."""
        self._process.stop()

    def _start(self, port: int) -> HostProcess:
        ahead = self._step.total_seconds() * self._starts
        self._starts += 1
        return HostProcess.start({**self._environ, "PROVE_AHEAD": str(ahead)}, app=self._folder, port=port)

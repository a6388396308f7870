"""The parts of the demo, on separate ports and without persistent state, to run beside `make start`."""

import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.azurite import Azurite
from local.demo.story import ACTS
from local.host.process import HostProcess
from local.receiver import Receiver
from local.settings import Settings, app_environment
from local.upstream import Upstream

#: Prefixes of variables that the demo sets itself, whatever the environment contains.
_OURS = ("BRIDGE_", "SPEECH_", "AzureWebJobs", "LOCAL_DIR", "PORT", "APP_DIR", "FAKE_SPEECH_")

_KEY = "demo-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The running parts."""

    #: The function app.
    host: HostProcess
    #: The fake Speech service.
    upstream: Upstream
    #: The receiver of most callbacks.
    receiver: Receiver
    #: The port of the late receiver.
    late_port: int


@contextmanager
def set_up(environ: Mapping[str, str], say: Callable[[str], None]) -> Iterator[Setup]:
    """Start all parts quietly, and stop them at the end. Raises LocalError if a part does not start."""
    with ExitStack() as running:
        folder = running.enter_context(tempfile.TemporaryDirectory(prefix="demo-"))
        azurite = running.enter_context(Azurite.start(say=say))
        upstream = running.enter_context(Upstream.start(key=_KEY))
        own = {
            **{name: value for name, value in environ.items() if not name.startswith(_OURS)},
            "AzureWebJobsStorage": azurite.connection_string,
            "BRIDGE_POLL_SCHEDULE": "* * * * * *",
            "BRIDGE_POLL_INTERVAL": "1s",
        }
        settings = Settings.read({"LOCAL_DIR": str(Path(folder))})
        speech = {"SPEECH_ENDPOINT": upstream.endpoint, "SPEECH_KEY": _KEY}
        host = HostProcess.start({**app_environment(settings, own), **speech})
        yield Setup(
            host=running.enter_context(host),
            upstream=upstream,
            receiver=running.enter_context(Receiver.start()),
            late_port=_free_port(),
        )


def _free_port() -> int:
    """Return a free port that other programs are unlikely to take during the demo."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def script_upstream(upstream: Upstream) -> None:
    """Script the operations of the demo."""
    for act in ACTS:
        upstream.script(act.operation_id, *act.life)

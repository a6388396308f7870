"""An Azurite that can die without losing acknowledged writes."""

import os
import signal
from pathlib import Path

from local.azurite import Azurite

_SAVE_AND_DIE = Path(__file__).with_name("save_and_die.js")


class DurableAzurite(Azurite):
    """An Azurite with the guarantee of the real service: acknowledged writes survive.

    A plain Azurite writes to disk every five seconds, so a kill loses the writes since then.
    """

    def command(self) -> list[str]:
        """Return the command, extended by the way to die."""
        node, *others = super().command()
        return [node, "--require", str(_SAVE_AND_DIE), *others]

    def die(self) -> None:
        """End the process between two turns of the event loop.

        Open requests get no reply. Raises if the process survives.
        """
        os.kill(self.pid, signal.SIGUSR2)
        if not self.wait(self.stop_timeout) or self.exit_code != -signal.SIGKILL:
            raise RuntimeError(f"Azurite did not die: {self.exit_code}")
        self.kill()

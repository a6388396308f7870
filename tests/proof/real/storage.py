"""An Azurite that can die without forgetting what it has acknowledged."""

import os
import signal
from pathlib import Path

from local.azurite import Azurite

_SAVE_AND_DIE = Path(__file__).with_name("save_and_die.js")


class DurableAzurite(Azurite):
    """An Azurite that keeps the promise of the real service: what was acknowledged survives.

    The plain one writes every five seconds, and loses what it acknowledged since when it is killed.
    """

    def command(self) -> list[str]:
        """Return the command, with the way to die in it."""
        node, *others = super().command()
        return [node, "--require", str(_SAVE_AND_DIE), *others]

    def die(self) -> None:
        """End it between two turns of its event loop; who waits for a reply gets none. Raises if it lives on."""
        os.kill(self.pid, signal.SIGUSR2)
        if not self.wait(self.stop_timeout) or self.exit_code != -signal.SIGKILL:
            raise RuntimeError(f"Azurite did not die: {self.exit_code}")
        self.kill()

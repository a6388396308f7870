"""Take what is in the vault now out of azd's environment: `python -m infra.hooks.after_provision`, run by azd."""

import os
import sys
from collections.abc import Callable, Mapping

from infra.hooks.azure import Failed, Management, azd, run, signed_in
from infra.hooks.before_provision import VARIABLE, has_key

#: Parameters that hold a secret until it is in the vault.
SECRETS = (VARIABLE, "NEW_SPEECH_KEY")


def finish(environ: Mapping[str, str], azure: Management, remember: Callable[[str, str], object]) -> None:
    """Set each to nothing, once the vault has its signing key.

    A crash before this leaves them in azd's file, and the next run takes them out. Raises Failed.
    """
    if not has_key(environ, azure):
        raise Failed("the vault has no signing key: say `azd provision` again, which puts in the one that was made")
    for name in SECRETS:
        remember(name, "")


def main() -> None:
    """Do it with the real azd."""
    finish(os.environ, signed_in(), lambda name, value: azd("env", "set", name, value))


if __name__ == "__main__":
    sys.exit(run(main))

"""Make a signing key for a vault that has none: `python -m infra.hooks.before_provision`, run by azd.

The key goes into azd's environment and from there, as a secure parameter, into the vault; after that it is taken out
again. A crash in between leaves it there, and the next run uses it. A key that the vault has is never replaced: all
receivers' secrets come from it.
"""

import base64
import os
import secrets
import sys
from collections.abc import Callable, Mapping

from infra.hooks.azure import Management, azd, required, run, signed_in

#: What the templates call the secret.
SECRET = "BRIDGE-SIGNING-KEYS"  # noqa: S105 - its name

#: What the templates read the new key from.
VARIABLE = "NEW_SIGNING_KEY"

_KEY_BYTES = 32
_VAULTS = "2023-07-01"


def prepare(environ: Mapping[str, str], azure: Management, remember: Callable[[str, str], object]) -> None:
    """Say by `remember` which key the vault is to get: none where it has one. Raises Failed."""
    if has_key(environ, azure):
        remember(VARIABLE, "")
    elif not environ.get(VARIABLE):
        remember(VARIABLE, base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode())
        print("made a signing key: the vault has none yet")


def has_key(environ: Mapping[str, str], azure: Management) -> bool:
    """Tell whether a vault of the resource group has the secret; a group that is not there has none. Raises Failed."""
    subscription, name = required(environ, "AZURE_SUBSCRIPTION_ID"), required(environ, "AZURE_ENV_NAME")
    group = f"/subscriptions/{subscription}/resourceGroups/rg-{name}"
    vaults = azure.get(f"{group}/providers/Microsoft.KeyVault/vaults", _VAULTS) or {"value": []}
    found = [azure.get(f"{vault['id']}/secrets", _VAULTS) or {"value": []} for vault in vaults["value"]]
    return any(secret["name"].upper() == SECRET for each in found for secret in each["value"])


def main() -> None:
    """Do it with the real azd."""
    prepare(os.environ, signed_in(), lambda name, value: azd("env", "set", name, value))


if __name__ == "__main__":
    sys.exit(run(main))

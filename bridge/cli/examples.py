"""Examples for the help text of each command. The tests run each of them, in this order, against a started app."""

from collections.abc import Mapping, Sequence

#: The name of the command, as pyproject.toml has it.
PROGRAM = "speech-webhooks"

#: The lines to type by the command that they show. ID stands for the id of a registration.
EXAMPLES: Mapping[str, Sequence[str]] = {
    "register": (
        "register --operation-id my-video --callback-url http://127.0.0.1:7072/callback --wait",
        "register --operation-id my-film --callback-url http://127.0.0.1:7072/callback --group vp9-10min",
    ),
    "show": ("show ID", "show my-video"),
    "list": ("list --state delivered", "list --operation-id my-video --json"),
    "watch": ("watch ID --timeout 30m",),
    "redeliver": ("redeliver ID", "redeliver --dead --since 2h --host hooks.example.com"),
    "cancel": ("cancel ID",),
    "ping": ("ping http://127.0.0.1:7072/callback",),
    "verify": ("verify http://127.0.0.1:7072/callbacks --callback-url http://127.0.0.1:7072/callback",),
    "secret": ("secret http://127.0.0.1:7072/callback",),
    "status": ("status",),
    "doctor": ("doctor",),
    "open": ("open",),
    "keys list": ("keys list",),
    "keys new": ("keys new",),
}


def epilog(command: str) -> str:
    """Write the end of a command's help text, each example on a line of its own."""
    lines = "\n".join(f"  {PROGRAM} {line}" for line in EXAMPLES[command])
    return f"\b\nExamples:\n{lines}"

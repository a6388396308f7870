"""The commands: each reads what was typed, calls the bridge, and shows what came back."""

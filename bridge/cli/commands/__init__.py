"""The commands: each parses its arguments, calls the bridge, and shows the answer."""

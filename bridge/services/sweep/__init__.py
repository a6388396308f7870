"""The parts of a sweep, each one step of it for many rows: read, move, poll, purge."""

"""Pure decisions without I/O, clock or randomness. Imports nothing else of the project."""

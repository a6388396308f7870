"""The HTTP API: reads requests, calls the use cases, writes answers. Decides nothing about registrations."""

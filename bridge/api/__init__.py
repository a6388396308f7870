"""The HTTP API: parses requests, calls the use cases, writes answers. Makes no decisions about registrations."""

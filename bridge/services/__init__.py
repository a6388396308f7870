"""The use cases, one module each: read, decide, write."""

"""Guarded HTTP: allowed addresses, and limits of time and size."""

"""Guarded HTTP: which addresses may be called, within which time and size."""

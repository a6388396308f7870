"""Doubles of the outside, and helpers for tests."""

"""Azurite, the storage emulator: installed once at a fixed version, and run on loopback only."""

from local.azurite.emulator import Azurite, Ports

__all__ = ["Azurite", "Ports"]

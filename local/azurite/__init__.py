"""Azurite, the storage emulator: installed once in a fixed version, and run on loopback only."""

from local.azurite.emulator import Azurite, Certificate, Ports

__all__ = ["Azurite", "Certificate", "Ports"]

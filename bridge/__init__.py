"""The webhook bridge for Azure AI Speech operations: register, sweep, deliver."""

__version__ = "0.2.0"

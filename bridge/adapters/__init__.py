"""Implementations of the ports: thin translations between the bridge's protocols and external libraries."""

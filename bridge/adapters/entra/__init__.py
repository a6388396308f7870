"""Tokens of a Microsoft Entra tenant, and the keys that the tenant publishes."""

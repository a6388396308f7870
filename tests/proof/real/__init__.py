"""The proof on real parts: the started app over Azurite, killed and loaded.

kills.py    kills of app and storage lose no accepted registration; storage.py is an Azurite that dies as Azure would
load.py     many registrations a minute: the latency of each, and the arrival of all callbacks
"""

"""The proof on the real parts: the started app over Azurite, killed and loaded.

kills.py    everything that was answered 201 arrives, whatever dies; storage.py is an Azurite that dies as Azure would
load.py     many registrations a minute: how long each takes, and that all of them arrive
"""

"""A function host for development: only the parts of Azure Functions that this app uses.

`local/README.md` lists the modelled behaviour with its sources.
"""

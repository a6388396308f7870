"""A function host for development: what this app relies on of Azure Functions, and nothing else.

`local/README.md` lists what is modelled and where each fact comes from.
"""

"""The command line for clients and operators of the bridge. It calls the HTTP API and is never deployed."""

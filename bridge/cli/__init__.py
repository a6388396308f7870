"""The command line: what a client or an operator of the bridge types. Calls the HTTP API; never deployed."""

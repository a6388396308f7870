"""Everything that runs the bridge on one machine; it is not deployed, and `bridge/` does not know it."""

"""Tools to run the bridge on one machine. They are not deployed, and `bridge/` does not depend on them."""

"""`make demo`: the whole job once, shown as it happens, and checked."""

from local.demo.show import demo

__all__ = ["demo"]

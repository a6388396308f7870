"""Find Microsoft's tools, which some tests need and a machine may lack."""

import os
import shutil

import pytest

#: How to get each tool.
_SOURCES = {
    "bicep": "`az bicep install`, and put ~/.azure/bin on PATH",
    "functions-host": "built from the source of the Azure Functions host",
    "insights-sink": "a server that keeps what the host sends to Application Insights",
}


def tool(name: str) -> str:
    """Return the path of an executable on PATH.

    Without one the test that asks is skipped, or fails if TOOLS_REQUIRED is set: a machine that should have the tools
    must not pass over their tests.
    """
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not on PATH ({_SOURCES[name]})"
        if os.environ.get("TOOLS_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path

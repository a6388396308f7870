"""Find Microsoft's tools, which a machine may lack."""

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

    Skips the test without the tool, or fails the test if TOOLS_REQUIRED is set: a machine with the tools must not skip
    their tests.
    """
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not on PATH ({_SOURCES[name]})"
        if os.environ.get("TOOLS_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path

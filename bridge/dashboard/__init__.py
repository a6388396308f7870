"""The page for people: one file for the browser, assembled from the files beside this one.

The page itself contains no secret and no data of an owner. The browser reads the data from the API, with the user's
key. A failure here affects only the page, never a sweep or a delivery.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

from bridge import __version__
from bridge.diagnostics import table

#: The scripts, in this order.
_SCRIPTS = (
    "dom.js",
    "calls.js",
    "hints.js",
    "view.js",
    "registrations.js",
    "history.js",
    "broken.js",
    "charts.js",
    "forms.js",
    "main.js",
)


@dataclass(frozen=True, slots=True)
class Page:
    """The page, and the policy that allows only the page's own style and script."""

    html: str
    policy: str


@cache
def page(*, by_token: bool) -> Page:
    """Assemble the page once. `by_token`: callers have tokens of a tenant instead of a key."""
    folder = files(__name__)
    style = (folder / "style.css").read_text(encoding="utf-8")
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    html = Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
        auth="entra" if by_token else "key",
        style=style,
        version=__version__,
        hints=json.dumps(table()).replace("<", "\\u003c"),  # no text can close the element
        script=script,
    )
    return Page(html, _policy(style, script))


def _policy(style: str, script: str) -> str:
    """Return the Content-Security-Policy (CSP level 3): hashes of style and script, and no framing."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

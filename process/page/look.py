"""The page on the HTTP server: its three paths, its headers, and the files beside it."""

import time
from collections.abc import Callable
from http import HTTPStatus
from importlib import resources

from process.http_request import Page
from process.page.fresh import Fresh

PATH = "/"
HEADERS = (
    "Content-Security-Policy: default-src 'none'; style-src 'self'; script-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options: nosniff",
    "Referrer-Policy: no-referrer",
    "Cross-Origin-Resource-Policy: same-origin",
    "Cache-Control: no-store",
)
"""Nothing but our own style and script, no frame around it, and nothing is kept."""
_TYPES = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}


class LookPage:
    """What a person sees who opens the HTTP port in a browser."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        """`make` returns the whole document, in a helper's thread."""
        self._fresh = Fresh(make, time.monotonic)
        folder = resources.files("process.page")
        self._files = {
            f"/{name}": Page(HTTPStatus.OK, (folder / name).read_bytes(), kind, HEADERS)
            for name, kind in _TYPES.items()
        }

    def file(self, path: str) -> Page | None:
        """Return the style or the script."""
        return self._files.get(path)

    def page(self) -> Page:
        """Return the page as it is now; it may take seconds."""
        return Page(HTTPStatus.OK, self._fresh.page(), "text/html; charset=utf-8", HEADERS)

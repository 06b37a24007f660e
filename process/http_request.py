"""Reads the head of an HTTP request, and writes the head of an answer. Pure.

    RFC 9112, 2.1 and 3:   method SP request-target SP HTTP-version CRLF
                           *( field-line CRLF )
                           CRLF

No field decides anything here: there are a few fixed pages, each answer ends its connection, and
what a request says beyond its first line is counted and dropped.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

LONGEST_HEAD = 8 * 1024
"""Bytes of request line and fields together. The kubelet sends 150, Prometheus 300; a page of ours
has no use for cookies or tokens, which are what makes others longer."""

_FIRST_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,20}) ([!-~]{1,4096}) HTTP/([0-9])\.([0-9])"
)
"""Only what can be seen: RFC 9112, 3; nothing in it can break a line."""
_ABSOLUTE = re.compile(r"https?://[^/?]*", re.IGNORECASE)
"""What a proxy is sent, and a server has to take as well (RFC 9112, 3.2.2)."""


class HttpRefusal(StrEnum):
    """Why a connection got no page: a label of a metric, so none is made at run time."""

    TOO_LONG = "too_long"
    """More than LONGEST_HEAD without an end."""
    MALFORMED = "malformed"
    """The first line is none of HTTP."""
    METHOD = "method"
    """Something else than GET or HEAD."""
    VERSION = "version"
    """Not HTTP/1."""
    TOO_SLOW = "too_slow"
    """The request, or the TLS handshake before it, did not end in time."""
    UNANSWERED = "unanswered"
    """The page was not ready in time: a fault of ours, or too little processor."""
    SLOW_READER = "slow_reader"
    """The answer was not taken in time, or too many others were not."""
    CROWDED = "crowded"
    """Closed to make room for a newer one."""
    TLS = "tls"
    """The handshake failed: another protocol, a version or a suite that is not wanted."""
    GONE = "gone"
    """The other side hung up before it had its answer. No fault: checks of a port do so."""
    NO_ROOM = "no_room"
    """The system gave no descriptor, or no memory, for one more."""


class HttpError(Exception):
    """The request is refused; `reason` says why."""

    def __init__(self, reason: HttpRefusal) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What of a request matters."""

    path: str
    """Without the query. Printable ASCII, and percent signs are left as they are."""
    head_only: bool


@dataclass(frozen=True, slots=True)
class Page:
    """One answer, but for what belongs to the connection."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[str, ...] = ()
    """More lines of the head."""


def text(status: HTTPStatus, line: str) -> Page:
    """Return a page of one line."""
    return Page(status, line.encode() + b"\n")


def read(data: bytes | bytearray, looked_at: int = 0) -> HttpRequest | None:
    """Return the request, None where its head has not ended yet; raise HttpError.

    `looked_at`: so many bytes were here at the last call, which found no end in them. A line may
    end in LF alone (RFC 9112, 2.2).
    """
    start = max(0, looked_at - 3)
    ends = [
        found + len(mark) for mark in (b"\n\r\n", b"\n\n") if (found := data.find(mark, start)) >= 0
    ]
    if min(ends, default=len(data)) > LONGEST_HEAD:
        raise HttpError(HttpRefusal.TOO_LONG)
    if not ends:
        return None
    return _request(bytes(data[: data.index(b"\n")]).removesuffix(b"\r"))


def _request(line: bytes) -> HttpRequest:
    found = _FIRST_LINE.fullmatch(line)
    if found is None:
        raise HttpError(HttpRefusal.MALFORMED)
    method, target, major, _ = found.groups()
    if major != b"1":
        raise HttpError(HttpRefusal.VERSION)
    if method not in (b"GET", b"HEAD"):
        raise HttpError(HttpRefusal.METHOD)
    path = _ABSOLUTE.sub("", target.decode("ascii"), count=1).partition("?")[0]
    return HttpRequest(path or "/", method == b"HEAD")


_REFUSED: Mapping[HttpRefusal, HTTPStatus] = {
    HttpRefusal.TOO_LONG: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    HttpRefusal.MALFORMED: HTTPStatus.BAD_REQUEST,
    HttpRefusal.METHOD: HTTPStatus.METHOD_NOT_ALLOWED,
    HttpRefusal.VERSION: HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
}


def refusal(reason: HttpRefusal) -> Page:
    """Return what to answer a request that cannot be read."""
    status = _REFUSED[reason]
    return text(status, status.phrase.lower())


def head(page: Page, date: str) -> bytes:
    """Return the head of the answer: with its length, its date (RFC 9110, 6.6.1), and its end."""
    lines = [
        f"HTTP/1.1 {page.status.value} {page.status.phrase}",
        f"Date: {date}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(page.body)}",
        "Connection: close",
        *page.headers,
    ]
    if page.status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"

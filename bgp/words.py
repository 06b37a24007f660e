"""The one gate through which what users gave passes on its way into a line of the engine. Pure.

FRR takes a line apart at blanks, ends it at a line's end, and sees a pipe in `| `. So whatever
might be read as more than the one word it is meant to be is refused, with its object and field.
"""

import re
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from kube.problem import quoted

MOST_PASSWORD = 80
"""Bytes that the kernel takes of a key (TCP_MD5SIG)."""
MOST_TEXT = 128
"""Bytes of a shutdown's message (RFC 9003 allows 255; RFC 8203's readers take 128)."""
LONGEST_PROFILE = 63
"""The engine cuts longer names of BFD profiles, so that two may become one."""
HASHED = "h-"


class LineError(ValueError):
    """What the engine must not be told: the object, the field, and why. Never the value."""

    def __init__(self, owner: str, field: str, why: str) -> None:
        super().__init__(f"{quoted(owner)}: {field}: {why}")
        self.owner, self.field, self.why = owner, field, why


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    most: int
    why: str


class WordForm(Enum):
    """What a word may look like."""

    LINK = _Rule(
        re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*"),
        15,
        "must be the name of a link: 1 to 15 letters, digits, and any of . _ @ -",
    )
    PASSWORD = _Rule(
        # No character that is a blank or a control character, in ASCII or beyond it.
        re.compile(r"[^\s\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202e\ufeff]+"),
        MOST_PASSWORD,
        f"must have 1 to {MOST_PASSWORD} bytes, without blanks and control characters",
    )
    TEXT = _Rule(
        re.compile(r"[!-{}~]+( [!-{}~]+)*"),
        MOST_TEXT,
        f"must have 1 to {MOST_TEXT} printable ASCII characters, single blanks, and no pipe",
    )


def word(owner: str, field: str, text: str, form: WordForm) -> str:
    """Return the text, now known to be what `form` says. Raises `LineError`, without the text."""
    rule: _Rule = form.value
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise LineError(owner, field, rule.why) from None
    if size > rule.most or not rule.pattern.fullmatch(text):
        raise LineError(owner, field, rule.why)
    if form is WordForm.LINK and _numeric(text):
        raise LineError(owner, field, "must not look like an address")
    return text


def _numeric(text: str) -> bool:
    """Whether the engine might take the word for an address or a number."""
    return not re.search(r"[A-Za-z]", text)


def address(owner: str, field: str, value: IPv4Address | IPv6Address) -> str:
    """Return an address as the engine takes it. Raises `LineError` for one with a zone."""
    if isinstance(value, IPv6Address) and value.scope_id is not None:
        raise LineError(owner, field, "must be an address without a zone")
    return str(value)


def prefix(value: IPv4Network | IPv6Network) -> str:
    """Return a prefix as the engine takes it. Raises `LineError` for one with a zone."""
    address("prefix", "network", value.network_address)
    return str(value)


def number(owner: str, field: str, value: int, low: int, high: int) -> str:
    """Return a number within its bounds. Raises `LineError`."""
    if not low <= value <= high:
        raise LineError(owner, field, f"must be {low} to {high}")
    return str(int(value))


def profile(name: str) -> str:
    """Return what a BFD profile is called at the engine; two names never become one.

    A name that the engine takes as it is stays, so that people know it there.
    """
    plain = re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name)
    if plain and len(name) <= LONGEST_PROFILE and not name.startswith(HASHED):
        return name
    return HASHED + sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:48]


def same_address(text: str) -> str:
    """Return the one spelling of an address, or the text if it is none."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text

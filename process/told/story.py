"""The flight recorder in sentences, one a record. Pure.

What others wrote (names of nodes and services) is shown as what it is, without anything that moves
a terminal.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from process.told.rows import LiveRecord

MOST_NAMED = 4
"""IPs or services that a sentence lists."""
LONGEST = 400


def line(record: LiveRecord) -> str:
    """Return the time of a record to the millisecond, in UTC, and what happened."""
    try:
        at = datetime.fromtimestamp(record.at, UTC)
    except (OverflowError, ValueError, OSError):
        at = datetime.fromtimestamp(0, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}  {sentence(record)}"


def sentence(record: LiveRecord) -> str:
    """Return what happened; the kind and the fields of one that is not known here."""
    told = _TOLD.get(record.kind)
    text = _bare(record) if told is None else told(_Fields(record))
    return visible(" ".join(text.split()))


def visible(text: str) -> str:
    """Return a text of one line in which nothing moves a terminal, cut where it is long."""
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return "".join(letter if letter.isprintable() else "?" for letter in shown)


class _Fields:
    """A record as a sentence wants it."""

    def __init__(self, record: LiveRecord) -> None:
        self.node = record.node or "nobody"
        self.ips = _named(record.ips)
        self.services = _named(record.services)
        self._details: Mapping[str, str | float] = record.details

    def __getitem__(self, name: str) -> str:
        value = self._details.get(name, "")
        return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)

    def what(self) -> str:
        """Return what is missed: a link, or the process."""
        return f"{self.node}'s {self['link']}" if self["link"] else f"the process of {self.node}"

    def about(self) -> str:
        """Return the IPs, with their services where those are named."""
        return f"{self.ips} ({self.services})" if self.services else self.ips


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _verdict(f: _Fields) -> str:
    if f["state"] == "back":
        return f"{f['witnesses']} says that {f.node} was held gone, and is back"
    if f["state"] == "void":
        return f"verdict void: {f.what()} is heard again"
    by = f", missed by {f['witnesses']}" if f["witnesses"] else ""
    return f"verdict: {f.what()} is gone{by}"


def _contact(f: _Fields) -> str:
    if f["state"] == "held":
        return f"answers stop: {f['reason']}, {f['seconds']} s lost"
    return f"answers flow again after {f['seconds']} s: contact made by {f['by']}"


def _elected(f: _Fields) -> str:
    previous = f" after {f['previous']}" if f["previous"] else ""
    return f"{f.about()}: the owner is {f.node}{previous} ({f['reason']})"


def _asked(f: _Fields) -> str:
    whom = f" of {f['mac']}" if f["mac"] else ""
    return f"{f.ips}: asked on {f['link']}{whom} who answers for it"


def _announced(f: _Fields) -> str:
    after = f" {f['seconds']} s after the decision" if f["seconds"] else ""
    return f"{f.about()}: first announcement{after} ({f['reason']})"


def _contested(f: _Fields) -> str:
    at = f" at {f['mac']}" if f["mac"] else ""
    return f"{f.ips}: {f.node} answers for it{at}, so it is not taken over"


def _bgp(f: _Fields) -> str:
    why = f": {f['reason']}" if f["reason"] else ""
    return f"{f['event']} {f['about']} {f['state']}{why}"


def _routes(f: _Fields) -> str:
    if f["peers"]:
        return f"{f.services}: announced by BGP to {f['peers']}"
    return f"{f.services}: announced by BGP to nobody ({f['reason']})"


_TOLD: Mapping[str, Callable[[_Fields], str]] = {
    "missed": lambda f: f"{f['witness']} misses {f.what()}",
    "judged": lambda f: f"{f['by']} says that {f.what()} is gone",
    "verdict": _verdict,
    "barred": lambda f: f"{f.node} may own {'nothing' if f['state'] == 'barred' else 'IPs again'}",
    "flags": lambda f: f"this node says of itself: {f['flags'] or 'all is well'}",
    "member": lambda f: f"gossip: {f.node} ({f['address']}) is {f['state']}",
    "contact": _contact,
    "quorum": lambda f: f"majority: {f['changed']} services changed, {f['lacking']} lack it",
    "echo_filtered": lambda f: f"{f.node} answers no echo request any more, though it lives",
    "bgp": _bgp,
    "failed": lambda f: f"{f.services}: could not be brought in line: {f['error']}",
    "elected": _elected,
    "won": lambda f: f"{f.about()}: taken up ({f['reason']})",
    "lost": lambda f: f"{f.about()}: given up ({f['reason']})",
    "asked": _asked,
    "said": lambda f: f"letter {f['letter']} to {f.node}: {f.ips}",
    "heard": lambda f: f"letter {f['letter']} from {f.node}: {f.ips}",
    "contested": _contested,
    "foreign_answer": lambda f: f"{f.ips}: the kernel of {f.node} answers for it, its speaker not",
    "put_off": lambda f: f"{f.ips}: not announced for now",
    "quiet": lambda f: f"{f.ips}: answered for, and not announced: its last owner's machine lives",
    "handed_over": lambda f: f"{f.services}: has changed hands",
    "announced": _announced,
    "confirmed": lambda f: f"{f.ips}: {f['client']} follows, after {f['seconds']} s",
    "routes": _routes,
}


def _bare(record: LiveRecord) -> str:
    fields = " ".join(f"{name}={value}" for name, value in record.details.items())
    parts = record.kind, record.node, ", ".join(record.ips), ", ".join(record.services), fields
    return " ".join(part for part in parts if part)

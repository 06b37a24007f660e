"""What single lines of FRR's configuration mean: slots, spellings, whose they are. Pure.

One table says of which lines a context has one only, and which of them are ours, so that they are
removed when nobody wants them any more.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bgp.words import same_address
from kube.rules.extras import CLOSING as CLOSING

if TYPE_CHECKING:
    from bgp.tree import Block

DELAY_TIMER = "bgp route-map delay-timer"
DENY_IN, DENY_OUT = 20, 65535
"""Sequence numbers of the entries that refuse: MetalLB's of what comes in, ours of what goes."""

_LIST = (
    r"(?:(?:ip |ipv6 )?(?:prefix-list|access-list) \S+|bgp as-path access-list \S+"
    r"|bgp (?:ext|large-)?community-list \S+(?: \S+)?)"
)
_NUMBERED = re.compile(rf"({_LIST}) seq \d+ (.*)")
"""Entries of lists, which the engine numbers where nobody does."""
_CONTEXTS = re.compile(
    r"(router|route-map|address-family|profile|vrf|interface|key|line|peer) .*|bfd|rpki"
)
_NEIGHBOR = (
    r"remote-as|local-as|port|password|update-source|ebgp-multihop|disable-connected-check"
    r"|shutdown|graceful-restart|description|activate"
)
_SLOTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), slot)
    for pattern, slot in (
        (rf"({_LIST} seq \d+) .*", r"\1"),
        (r"(network \S+)(?: route-map \S+)?", r"\1"),
        (r"(neighbor \S+ bfd profile) \S+", r"\1"),
        (r"(neighbor \S+ bfd)", r"\1"),
        (r"(neighbor \S+ timers connect) \d+", r"\1"),
        (r"(neighbor \S+ timers) \d+ \d+", r"\1"),
        (r"(neighbor \S+ route-map) \S+ (in|out)", r"\1 \2"),
        (r"(neighbor \S+ interface)(?: .*)?", r"\1"),
        (rf"(neighbor \S+ (?:{_NEIGHBOR}))(?: .*)?", r"\1"),
        (r"(bgp router-id) \S+", r"\1"),
        (r"(coalesce-time) \d+", r"\1"),
        (r"(bgp route-map delay-timer) \d+", r"\1"),
        (r"(router bgp) \d+( vrf \S+)?", r"\1\2"),
        (r"(route-map \S+) (?:permit|deny) (\d+)", r"\1 \2"),
        (r"((?:set|match) [a-z-]+)(?: .*)?", r"\1"),
        (r"((?:detect-multiplier|minimum-ttl|(?:echo )?(?:receive|transmit)-interval)) \S+", r"\1"),
        (r"(?:no )?(echo-mode|passive-mode)", r"\1"),
    )
)
_OURS = {
    "router": re.compile(
        r"neighbor \S+ ((remote-as|local-as|port|password|update-source|shutdown|interface) .*"
        r"|timers( connect)? [\d ]+|ebgp-multihop|disable-connected-check|shutdown"
        r"|graceful-restart|bfd( profile \S+)?)|bgp (router-id \S+|graceful-shutdown)"
    ),
    "address-family": re.compile(
        r"network \S+ route-map c\d+|neighbor \S+ (activate|route-map \S+ (in|out))"
    ),
    "route-map": re.compile(
        r"(match|set) tag \d+|set (community|large-community|local-preference|metric) .*"
    ),
    "bfd": re.compile(r"profile \S+"),
}
_LISTS = re.compile(
    r"route-map |profile |((ip|ipv6) )?(prefix-list|access-list) "
    r"|bgp (as-path|(ext|large-)?community-list) "
)
_TEXTS = re.compile(r"neighbor \S+ (password|description|shutdown message) ")
PROFILE_DEFAULTS = (
    "receive-interval 300",
    "transmit-interval 300",
    "detect-multiplier 3",
    "no echo-mode",
    "echo transmit-interval 50",
    "echo receive-interval 50",
    "no passive-mode",
    "minimum-ttl 254",
)
"""The engine prints none of them."""
_WELL_KNOWN = {
    name: f"{number >> 16}:{number & 0xFFFF}"
    for name, number in {
        "internet": 0,
        "graceful-shutdown": 0xFFFF0000,
        "accept-own": 0xFFFF0001,
        "route-filter-translated-v4": 0xFFFF0002,
        "route-filter-v4": 0xFFFF0003,
        "route-filter-translated-v6": 0xFFFF0004,
        "route-filter-v6": 0xFFFF0005,
        "llgr-stale": 0xFFFF0006,
        "no-llgr": 0xFFFF0007,
        "accept-own-nexthop": 0xFFFF0008,
        "blackhole": 0xFFFF029A,
        "no-export": 0xFFFFFF01,
        "no-advertise": 0xFFFFFF02,
        "local-AS": 0xFFFFFF03,
        "no-peer": 0xFFFFFF04,
    }.items()
}


def is_context(line: str) -> bool:
    """Whether the line opens a context."""
    return _CONTEXTS.fullmatch(line) is not None


def slot(context: str, line: str) -> str:
    """Return what the line is one of in its context; itself if there may be many of its kind."""
    if context.startswith("route-map ") and line.startswith(("match ", "set ")):
        # Of these alone there is one: `match` and `set` of others have forms of their own.
        return _slot(line) if _OURS["route-map"].fullmatch(line) else line
    return _slot(line)


def _slot(line: str) -> str:
    for pattern, name in _SLOTS:
        found = pattern.fullmatch(line)
        if found:
            return found.expand(name)
    return line


def canonical(line: str) -> str:
    """Return the one spelling of a line that versions of the engine print in several ways."""
    line = line.strip()
    if _TEXTS.match(line):
        return line
    words = line.split()
    if words[:1] == ["neighbor"] and len(words) > 1:
        words[1] = same_address(words[1])
        if words[2:] == ["ebgp-multihop", "255"]:
            words.pop()
    elif words[:1] == ["network"] and len(words) > 1:
        base, slash, length = words[1].partition("/")
        words[1] = same_address(base) + slash + length
    elif words[:2] == ["set", "community"]:
        words[2:] = _sorted(_WELL_KNOWN.get(each, each) for each in words[2:])
    elif words[:2] == ["set", "large-community"]:
        words[2:] = _sorted(words[2:])
    return " ".join(words)


def _sorted(communities: Iterable[str]) -> list[str]:
    def numbers(text: str) -> list[tuple[bool, int, str]]:
        return [(not part.isdecimal(), len(part), part) for part in text.split(":")]

    return sorted(set(communities), key=numbers)


def ours(context: str, block: "Block") -> bool:
    """Whether a line below the context is of a kind that only we type."""
    line = block.line
    if not context:
        return line.startswith("router bgp ") or _is_own_map(block)
    form = _OURS.get(context.split()[0])
    return form is not None and form.fullmatch(line) is not None


def _is_own_map(block: "Block") -> bool:
    """Whether this is an entry of a class, or of a map that we make for a peer."""
    if re.fullmatch(rf"route-map (c\d+ permit 10|\S+-in deny {DENY_IN})", block.line):
        return True
    if re.fullmatch(rf"route-map \S+-out deny {DENY_OUT}", block.line):
        return not block.below
    found = re.fullmatch(r"route-map \S+-out permit (\d+)", block.line)
    return found is not None and f"match tag {found[1]}" in (
        each.line for each in block.below.values()
    )


def referred_to(line: str) -> bool:
    """Whether other lines may refer to this one, so that it goes last and comes first."""
    return _LISTS.match(line) is not None


def outlasts_its_lines(line: str) -> bool:
    """Whether the context is not taken away with what people added to it."""
    return may_be_empty(line) or line.startswith(("interface ", "vrf ", "line "))


def without_number(line: str) -> str:
    """Return an entry of a list as it is written by who leaves its number to the engine."""
    found = _NUMBERED.fullmatch(line)
    return f"{found[1]} {found[2]}" if found else line


def may_be_empty(line: str) -> bool:
    """Whether the context is there even if nobody types it."""
    return line == "bfd" or line.startswith("address-family ")


def must_begin_anew(old: str, new: str) -> bool:
    """Whether the engine refuses the new context beside the old one: another AS."""
    return old != new and new.startswith("router bgp ")


def negation(name: str, line: str) -> str:
    """Return the line that takes the line in the slot `name` away; a password is not repeated."""
    if name.endswith(" remote-as"):
        return "no " + name.removesuffix(" remote-as")
    if name.startswith("neighbor ") and not name.endswith((" in", " out")):
        return "no " + name
    if name.startswith(("network ", "set ", "match ", "bgp ")) and not _NUMBERED.fullmatch(line):
        return "no " + name
    return line.removeprefix("no ") if line.startswith("no ") else "no " + line


def without_implied(negations: list[str]) -> list[str]:
    """Leave out what goes with something else: all of a neighbour, and what belongs to its BFD."""
    whole = {each for each in negations if re.fullmatch(r"no neighbor \S+( interface| bfd)?", each)}
    gone = {each.removesuffix(" interface") for each in whole if not each.endswith(" bfd")}
    gone |= {each for each in whole if each.endswith(" bfd")}
    return [
        each
        for each in negations
        if each in whole - _below(whole, gone) or not each.startswith(tuple(g + " " for g in gone))
    ]


def _below(whole: set[str], gone: set[str]) -> set[str]:
    """Of the whole ones, those that go with another: the BFD of a neighbour that goes."""
    return {each for each in whole if each.endswith(" bfd") and each.removesuffix(" bfd") in gone}


def neighbor(line: str) -> str | None:
    """Return the neighbour of whom the line makes one, None if it makes none."""
    found = re.fullmatch(r"neighbor (\S+) (remote-as|interface) .*", line)
    return found[1] if found else None


def complete(root: "Block") -> None:
    """Add to the profiles of BFD what the engine does not print."""
    bfd = root.get("bfd")
    for block in list(bfd.below.values()) if bfd else ():
        if block.line.startswith("profile "):
            for line in PROFILE_DEFAULTS:
                if block.get(line) is None:
                    block.put(line)

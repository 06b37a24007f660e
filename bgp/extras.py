"""`bgpextras`: lines of the engine's own language that people add to ours. Pure.

They are kept as they are. A line in a slot that we fill too wins, as it does at MetalLB, where it
is read later. Which lines an engine was ever told is kept as digests, so that those that nobody
wants any more are found among what it prints, and taken back.
"""

import re
from collections.abc import Container, Iterator, Mapping
from hashlib import sha256

from bgp import forms
from bgp.tree import Block
from bgp.words import LineError
from kube.rules.extras import fault, lines

_OWNER = "ConfigMap bgpextras"
_TOP = re.compile(
    r"(no )?(router|route-map|interface|vrf|hostname|log|debug|access-list|rpki|bfd|line"
    r"|ip(v6)? (prefix-list|access-list|route|nht|as-path|protocol)"
    r"|bgp (as-path|community-list|large-community-list|extcommunity-list|route-map))\b.*"
)
"""What stands in no context, however it is indented."""
_OF_A_FAMILY = re.compile(
    r"network |aggregate-address |redistribute |neighbor \S+ "
    r"(activate|addpath|allowas-in|as-override|attribute-unchanged|default-originate|distribute-list|filter-list|maximum-prefix"
    r"|next-hop-self|prefix-list|remove-private-AS|route-map|route-reflector-client"
    r"|route-server-client|send-community|soft-reconfiguration|unsuppress-map|weight)\b"
)
_ZEBRA = re.compile(r"(no )?(interface|vrf|ip(v6)? (route|nht|protocol)|table|zebra)\b.*")
_OF_THE_KERNEL = re.compile(r"ip(v6)? (protocol|nht) .*\broute-map .*")
"""What has zebra use a route-map, by which routes get into the kernel."""
_OF_ZEBRAS_MAPS = re.compile(
    r"set src .*|match ip(v6)? (address|next-hop) .*|match (interface|tag|source-protocol) .*"
    r"|(call|on-match|continue) .*"
)
_OF_ALL = re.compile(r"route-map |((ip|ipv6) )?(prefix|access)-list ")
_ONLY_OF_ZEBRAS_MAPS = "set src "
_DAEMONS = ("zebra", "bfdd", "bgpd")
_DIGITS = 32
Digests = frozenset[str]
"""Of lines with their contexts. A line may hold a password, and no digest shows it."""


def read(text: str) -> Block:
    """Read the lines, indented or not. Raises `LineError` naming the line's number."""
    wrong = fault(text)
    if wrong is not None:
        number, why = wrong
        raise LineError(_OWNER, f"extras, line {number}" if number else "extras", why)
    root = Block()
    path = [root]
    for _, line in lines(text):
        if line in forms.CLOSING:
            del path[max(1, len(path) - 1) :]
            continue
        if _TOP.fullmatch(line):
            del path[1:]
        elif line.startswith(("address-family ", "profile ")):
            del path[2:]
        block = _home(path[-1], line).put(line)
        if forms.is_context(line):
            path.append(block)
    forms.complete(root)
    return root


def _home(context: Block, line: str) -> Block:
    """Return where the engine prints the line: what only families have, it takes for IPv4's."""
    if context.line.startswith("router bgp ") and _OF_A_FAMILY.match(line):
        return context.put("address-family ipv4 unicast")
    return context


def numbers(text: str) -> Mapping[str, int]:
    """Return the number of each line as it is typed: of several that are alike, of the first."""
    found: dict[str, int] = {}
    for number, line in lines(text):
        found.setdefault(forms.canonical(line), number)
    return found


def of_daemon(extras: Block, daemon: str) -> Block:
    """Return the part that this daemon takes."""
    root = Block()
    maps = any(_OF_THE_KERNEL.fullmatch(block.line) for block in extras.below.values())
    for slot, block in extras.below.items():
        if daemon in _takers(block.line, maps):
            root.below[slot] = _part(block, daemon)
    return root


def _takers(line: str, maps: bool) -> tuple[str, ...]:
    """Return who takes a line that stands in no context; `maps`: zebra uses lists and maps, too."""
    if line == "bfd":
        return ("bfdd",)
    if _ZEBRA.fullmatch(line):
        return ("zebra",)
    return ("bgpd", "zebra") if maps and _OF_ALL.match(line) else ("bgpd",)


def _part(block: Block, daemon: str) -> Block:
    """Return a block as a daemon knows it: each has its own lines of a route-map."""
    if not block.line.startswith("route-map "):
        return block
    kept = {
        slot: each
        for slot, each in block.below.items()
        if (
            _OF_ZEBRAS_MAPS.fullmatch(each.line)
            if daemon == "zebra"
            else not each.line.startswith(_ONLY_OF_ZEBRAS_MAPS)
        )
    }
    return Block(block.line, kept)


def digests(block: Block) -> Digests:
    """Return those of all lines below the block, which is the root."""
    return frozenset(digest for _, digest in _walk(block, ""))


def _walk(block: Block, path: str) -> Iterator[tuple[Block, str]]:
    for each in block.below.values():
        way = _way(path, each.line)
        yield each, _digest(way)
        yield from _walk(each, way)


def among(running: Block, known: Container[str], path: str = "") -> Block:
    """Return the lines that run and are known, and the contexts around them."""
    found = Block(running.line)
    for slot, each in running.below.items():
        way = _way(path, each.line)
        inner = among(each, known, way)
        if inner.below or _digest(way) in known:
            found.below[slot] = inner
    return found


def to_bytes(memory: Mapping[str, Digests]) -> bytes:
    """Write down which lines each daemon was told: a line each."""
    lines = (f"{daemon} {each}\n" for daemon in sorted(memory) for each in sorted(memory[daemon]))
    return "".join(lines).encode()


def from_bytes(written: bytes) -> Mapping[str, Digests]:
    """Read what was written down; what is none of it is left out."""
    found: dict[str, set[str]] = {}
    for line in written.decode("ascii", "replace").splitlines():
        daemon, _, digest = line.partition(" ")
        if daemon in _DAEMONS and len(digest) == _DIGITS:
            found.setdefault(daemon, set()).add(digest)
    return {daemon: frozenset(some) for daemon, some in found.items()}


def _way(path: str, line: str) -> str:
    return f"{path}\n{forms.without_number(line)}"


def _digest(way: str) -> str:
    return sha256(way.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]

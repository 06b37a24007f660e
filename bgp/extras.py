"""`bgpextras`: lines of the engine's own language that people add to ours. Pure.

They are kept as they are. A line in a slot that we fill too wins, as it does at MetalLB, where it
is read later.
"""

import re

from bgp import forms
from bgp.tree import Block
from bgp.words import LineError

MOST_LINES = 4_000
LONGEST_LINE = 1_000
_OWNER = "ConfigMap bgpextras"
_TOP = re.compile(
    r"(no )?(router|route-map|interface|vrf|hostname|log|debug|access-list|rpki|bfd|line"
    r"|ip(v6)? (prefix-list|access-list|route|nht|as-path)"
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


def read(text: str) -> Block:
    """Read the lines, indented or not. Raises `LineError` naming the line's number."""
    lines = text.splitlines()
    if len(lines) > MOST_LINES:
        raise LineError(_OWNER, "extras", f"more than {MOST_LINES} lines")
    root = Block()
    path = [root]
    for at, raw in enumerate(lines, 1):
        line = _checked(raw, at)
        if not line or line[0] in "!#":
            continue
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


def _checked(raw: str, at: int) -> str:
    line = raw.expandtabs().strip()
    if not line.isprintable() or len(line) > LONGEST_LINE:
        raise LineError(_OWNER, f"extras, line {at}", "control characters, or too long")
    return line


def of_daemon(extras: Block, daemon: str) -> Block:
    """Return the part that this daemon takes."""
    root = Block()
    for slot, block in extras.below.items():
        taker = "zebra" if _ZEBRA.fullmatch(block.line) else "bgpd"
        if (daemon == "bfdd") if block.line == "bfd" else (daemon == taker):
            root.below[slot] = block
    return root

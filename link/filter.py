"""Classic BPF programs that the kernel runs before a frame reaches the process.

A program is a tuple of instructions (code, jump if true, jump if false, constant), the kernel's
`struct sock_filter`. Return value 0 drops the frame, anything else is the length to keep; a load
behind the end of a frame drops it.

Every piece of code below ends in returns and never runs on into what follows it, so pieces are put
together by plain concatenation, and jumps only ever skip a whole piece.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from itertools import groupby

Instruction = tuple[int, int, int, int]
Program = tuple[Instruction, ...]
Code = list[Instruction]

MOST_INSTRUCTIONS = 4_096
"""BPF_MAXINSNS of the kernel."""

IPV4_STEPS: tuple[int | None, ...] = (0, 4, 8, 12, 16, None)
IPV6_STEPS: tuple[int | None, ...] = (0, 8, 16, 32, 48, 64, 80, None)
"""How many last bits of an address a program may ignore, from the exact one to the coarsest; None
lets every question pass, and the process alone tells whose it is."""

_INSTRUCTION = struct.Struct("HBBI")
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_JUMP, _IF_EQUAL, _IF_GREATER, _IF_AT_LEAST = 0x05, 0x15, 0x25, 0x35
_RETURN = 0x06
_KEEP: Instruction = (_RETURN, 0, 0, 0xFFFF)
_DROP: Instruction = (_RETURN, 0, 0, 0)
_FARTHEST = 255
_LEAF = 8
"""Addresses compared one after the other at the end of a search; measured best."""
_WORD = 0xFFFF_FFFF

_ARP_OPERATION, _ARP_TARGET = 14 + 6, 14 + 24
_REQUEST, _REPLY = 1, 2
_NEXT_HEADER, _ICMP_TYPE, _NDP_TARGET = 14 + 6, 14 + 40, 14 + 48
_ICMPV6 = 58
_SOLICITATION, _ADVERTISEMENT = 135, 136

DROP_ALL: Program = (_DROP,)
"""Keeps everything out while a socket is set up, so that nothing unfiltered waits in it."""


class Level(StrEnum):
    """How closely a program knows the service IPs; the label `level` of the filter metric."""

    EXACT = "exact"
    PREFIXES = "prefixes"
    ANY = "any"


class ProgramTooLongError(ValueError):
    """A program of more instructions than the kernel takes."""


@dataclass(frozen=True, slots=True)
class WordRange:
    """Addresses as numbers, from `low` to `high`, both included, equal but for the last word."""

    low: int
    high: int


def level(ignored_bits: int | None) -> Level:
    """Name a step of the ladder."""
    if ignored_bits is None:
        return Level.ANY
    return Level.PREFIXES if ignored_bits else Level.EXACT


def assemble(program: Program) -> bytes:
    """Return the instructions as the array that SO_ATTACH_FILTER wants."""
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)


def arp_program(mac: bytes, ips: frozenset[IPv4Address], ignored_bits: int | None = 0) -> Program:
    """Return the filter for ARP: either operation about one of `ips`, and replies to `mac`.

    Whom a request is addressed to does not matter: Linux confirms entries by unicast. Raises
    ProgramTooLongError.
    """
    search = _about(ips, 1, _ARP_TARGET, ignored_bits)
    upper, lower = int.from_bytes(mac[:4], "big"), int.from_bytes(mac[4:], "big")
    # Where every question passes, replies to others still do not: one step before the search there
    # is the drop.
    miss = 0 if ignored_bits is None else 1
    return _finish(
        [
            (_LOAD_HALF, 0, 0, _ARP_OPERATION),
            (_IF_EQUAL, 7, 0, _REQUEST),
            (_IF_EQUAL, 0, 5, _REPLY),
            (_LOAD_WORD, 0, 0, 0),
            (_IF_EQUAL, 0, 3 + miss, upper),
            (_LOAD_HALF, 0, 0, 4),
            (_IF_EQUAL, 0, 1 + miss, lower),
            _KEEP,
            _DROP,
            *search,
        ]
    )


def ndp_program(mac: bytes, ips: frozenset[IPv6Address], ignored_bits: int | None = 0) -> Program:
    """Return the filter for NDP: solicitations and advertisements whose target is one of `ips`,
    and advertisements to `mac`, which are the answers of clients that we asked.

    Raises ProgramTooLongError.
    """
    search = _about(ips, 4, _NDP_TARGET, ignored_bits)
    upper, lower = int.from_bytes(mac[:4], "big"), int.from_bytes(mac[4:], "big")
    return _finish(
        [
            (_LOAD_BYTE, 0, 0, _NEXT_HEADER),
            (_IF_EQUAL, 0, 8, _ICMPV6),
            (_LOAD_BYTE, 0, 0, _ICMP_TYPE),
            (_IF_EQUAL, 7, 0, _SOLICITATION),
            (_IF_EQUAL, 0, 5, _ADVERTISEMENT),
            (_LOAD_WORD, 0, 0, 0),
            (_IF_EQUAL, 0, 4, upper),
            (_LOAD_HALF, 0, 0, 4),
            (_IF_EQUAL, 0, 2, lower),
            _KEEP,
            _DROP,
            *search,
        ]
    )


def merge(numbers: Iterable[int], ignored_bits: int) -> list[WordRange]:
    """Return the ranges of the numbers without their last bits; adjacent ones become one."""
    blank = (1 << ignored_bits) - 1
    ranges: list[WordRange] = []
    for number in sorted({number & ~blank for number in numbers}):
        # A range stays within one 32-bit word, as the program compares one word at a time.
        if ranges and ranges[-1].high + 1 == number and number & _WORD:
            ranges[-1] = WordRange(ranges[-1].low, number | blank)
        else:
            ranges.append(WordRange(number, number | blank))
    return ranges


@lru_cache(maxsize=16)
def _about(
    ips: frozenset[IPv4Address] | frozenset[IPv6Address],
    words: int,
    offset: int,
    ignored_bits: int | None,
) -> Code:
    """The part that all interfaces share: it takes 2 ms to make for 1,000 IPs."""
    if ignored_bits is None:
        return [_KEEP]
    whole_words, bits = divmod(ignored_bits, 32)
    kept = (int(ip) >> 32 * whole_words for ip in ips)
    ranges = merge(kept, bits)
    return _search(ranges, words - whole_words, offset) if ranges else [_DROP]


def _search(ranges: Sequence[WordRange], words: int, offset: int) -> Code:
    """Look for the number of `words` words at `offset`, the first word first."""
    load = [(_LOAD_WORD, 0, 0, offset)]
    if words == 1:
        return load + _tree(ranges)
    shift = 32 * (words - 1)
    rest = (1 << shift) - 1
    branches = [
        (
            word,
            _search([WordRange(r.low & rest, r.high & rest) for r in group], words - 1, offset + 4),
        )
        for word, group in groupby(ranges, lambda r: r.low >> shift)
    ]
    return load + _switch(branches)


def _switch(branches: Sequence[tuple[int, Code]]) -> Code:
    """Go on with the code of the branch whose word is the loaded one."""
    if len(branches) == 1:
        word, code = branches[0]
        return [(_IF_EQUAL, 1, 0, word), _DROP, *code]
    middle = len(branches) // 2
    return _halves(branches[middle][0], _switch(branches[:middle]), _switch(branches[middle:]))


def _tree(ranges: Sequence[WordRange]) -> Code:
    """Look for the loaded word by binary search."""
    if sum(1 if r.low == r.high else 2 for r in ranges) <= _LEAF or len(ranges) == 1:
        return _leaf(ranges)
    middle = len(ranges) // 2
    return _halves(ranges[middle].low, _tree(ranges[:middle]), _tree(ranges[middle:]))


def _halves(pivot: int, below: Code, from_pivot: Code) -> Code:
    if len(below) <= _FARTHEST:
        return [(_IF_AT_LEAST, len(below), 0, pivot), *below, *from_pivot]
    # Only the unconditional jump has an offset of 32 bits.
    far = (_JUMP, 0, 0, len(below))
    return [(_IF_AT_LEAST, 0, 1, pivot), far, *below, *from_pivot]


def _leaf(ranges: Sequence[WordRange]) -> Code:
    code: Code = [_DROP, _KEEP]
    for r in reversed(ranges):
        keep = len(code) - 1
        if r.low == r.high:
            code = [(_IF_EQUAL, keep, 0, r.low), *code]
        else:
            code = [(_IF_AT_LEAST, 0, 1, r.low), (_IF_GREATER, 0, keep, r.high), *code]
    return code


def _finish(code: Code) -> Program:
    if len(code) > MOST_INSTRUCTIONS:
        raise ProgramTooLongError(f"{len(code)} instructions")
    return tuple(code)

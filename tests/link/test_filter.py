"""Filter programs, run by an interpreter of classic BPF against what Python says of each frame."""

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link.filter import (
    DROP_ALL,
    IPV4_STEPS,
    IPV6_STEPS,
    MOST_INSTRUCTIONS,
    Level,
    Program,
    ProgramTooLongError,
    arp_program,
    assemble,
    level,
    merge,
    ndp_program,
)

OWN = bytes.fromhex("02000000000a")


def v4(numbers: Iterable[int]) -> frozenset[IPv4Address]:
    return frozenset(map(IPv4Address, numbers))


def v6(numbers: Iterable[int]) -> frozenset[IPv6Address]:
    return frozenset(map(IPv6Address, numbers))


def run(program: Program, frame: bytes) -> bool:
    """Interpret the opcodes that our programs use, as the kernel does (net/core/filter.c)."""
    at, accumulator = 0, 0
    for _ in range(len(program)):
        code, if_true, if_false, constant = program[at]
        at += 1
        match code:
            case 0x20 | 0x28 | 0x30:
                size = {0x20: 4, 0x28: 2, 0x30: 1}[code]
                if constant + size > len(frame):
                    return False
                accumulator = int.from_bytes(frame[constant : constant + size], "big")
            case 0x05:
                at += constant
            case 0x15 | 0x25 | 0x35:
                holds = {
                    0x15: accumulator == constant,
                    0x25: accumulator > constant,
                    0x35: accumulator >= constant,
                }[code]
                at += if_true if holds else if_false
            case 0x06:
                return constant > 0
            case _:
                raise AssertionError(f"no such opcode: {code:#x}")
    raise AssertionError("ran past the end: a jump went backwards")


def check(program: Program) -> None:
    """What the kernel checks at attach: every jump stays inside, the last word is a return."""
    for index, (code, if_true, if_false, constant) in enumerate(program):
        assert 0 <= if_true <= 255
        assert 0 <= if_false <= 255
        assert 0 <= constant < 1 << 32
        farthest = constant if code == 0x05 else max(if_true, if_false)
        assert index + 1 + (farthest if code != 0x06 and code not in (0x20, 0x28, 0x30) else 0) < (
            len(program) + (code == 0x06)
        )
    assert len(program) <= MOST_INSTRUCTIONS


def arp(target: IPv4Address, operation: int = 1, to: bytes = b"\xff" * 6) -> bytes:
    start = to + bytes(6) + bytes.fromhex("0806000108000604") + operation.to_bytes(2, "big")
    return start + bytes(16) + target.packed


def ndp(target: IPv6Address, kind: int = 135, next_header: int = 58, to: bytes = bytes(6)) -> bytes:
    header = to + bytes(8) + b"\x60\0\0\0\0\x18" + bytes([next_header, 255]) + bytes(32)
    return header + bytes([kind]) + bytes(7) + target.packed


def sets(bits: int, of: type[IPv4Address] | type[IPv6Address]) -> st.SearchStrategy[set[int]]:
    """Sets that are dense, sparse, or in a few clusters, at any place of the address space."""
    whole = st.integers(0, (1 << bits) - 1)
    clusters = st.builds(
        lambda bases, steps: {(base + step) % (1 << bits) for base in bases for step in steps},
        st.lists(whole, min_size=1, max_size=5),
        st.lists(st.integers(0, 400), min_size=1, max_size=60),
    )
    return st.sets(whole, max_size=60) | clusters


def near(numbers: set[int], bits: int) -> list[int]:
    """The members, and what lies beside them."""
    most = (1 << bits) - 1
    found = {n + d for n in numbers for d in (-1, 0, 1)} | {0, most}
    return [n for n in found if 0 <= n <= most]


@given(sets(32, IPv4Address), st.sampled_from(IPV4_STEPS), st.lists(st.integers(0, 2**32 - 1)))
@settings(deadline=None)
def test_arp_filter_is_the_predicate(
    numbers: set[int], ignored: int | None, strangers: list[int]
) -> None:
    program = arp_program(OWN, v4(numbers), ignored)
    check(program)
    kept = None if ignored is None else {number >> ignored for number in numbers}
    for number in [*near(numbers, 32), *strangers]:
        about = kept is None or number >> (ignored or 0) in kept
        ip = IPv4Address(number)
        assert run(program, arp(ip)) is about
        assert run(program, arp(ip, to=OWN)) is about
        assert run(program, arp(ip, operation=2)) is (about and kept is not None)
        assert run(program, arp(ip, operation=2, to=OWN)) is True
        assert run(program, arp(ip, operation=2, to=OWN[:5] + b"\x0b")) is (
            about and kept is not None
        )
        assert run(program, arp(ip, operation=3)) is False


@given(sets(128, IPv6Address), st.sampled_from(IPV6_STEPS), st.lists(st.integers(0, 2**128 - 1)))
@settings(deadline=None)
def test_ndp_filter_is_the_predicate(
    numbers: set[int], ignored: int | None, strangers: list[int]
) -> None:
    try:
        program = ndp_program(OWN, v6(numbers), ignored)
    except ProgramTooLongError:
        assert len(numbers) > 200
        return
    check(program)
    kept = None if ignored is None else {number >> ignored for number in numbers}
    for number in [*near(numbers, 128), *strangers]:
        about = kept is None or number >> (ignored or 0) in kept
        ip = IPv6Address(number)
        assert run(program, ndp(ip)) is about
        assert run(program, ndp(ip, kind=136)) is about
        assert run(program, ndp(ip, to=OWN)) is about
        # A client that we asked answers about itself.
        assert run(program, ndp(ip, kind=136, to=OWN))
        assert run(program, ndp(ip, kind=136, to=OWN[:5] + b"\x0b")) is about
        assert run(program, ndp(ip, kind=136, to=b"\x06" + OWN[1:])) is about
        assert run(program, ndp(ip, kind=134, to=OWN)) is False
        assert run(program, ndp(ip, next_header=0)) is False


@pytest.mark.parametrize("length", [0, 13, 20, 22, 41])
def test_short_frames_are_dropped(length: int) -> None:
    ip = IPv4Address("10.0.0.1")
    assert not run(arp_program(OWN, frozenset({ip})), arp(ip)[:length])


@pytest.mark.parametrize("length", [0, 20, 54, 55, 65, 77])
def test_short_ipv6_frames_are_dropped(length: int) -> None:
    ip = IPv6Address("fd00::1")
    assert run(ndp_program(OWN, frozenset({ip})), ndp(ip))
    assert not run(ndp_program(OWN, frozenset({ip})), ndp(ip)[:length])


def scattered(count: int, step: int = 7) -> list[int]:
    return [0x0A000001 + step * index for index in range(count)]


def test_a_thousand_scattered_ips_fit_and_a_search_is_short() -> None:
    numbers = scattered(1_000)
    program = arp_program(OWN, v4(numbers))
    assert len(program) < 1_500
    assert all(run(program, arp(IPv4Address(number))) for number in numbers)
    assert not run(program, arp(IPv4Address(numbers[500] + 1)))


def test_neighbours_become_ranges_that_stay_within_a_word() -> None:
    assert len(merge(range(1000, 2000), 0)) == 1
    assert len(merge([0xFFFF_FFFF, 0x1_0000_0000], 0)) == 2
    assert len(arp_program(OWN, v4(range(1000, 2000)))) < 20


def test_too_many_ips_are_refused_and_a_coarser_step_takes_them() -> None:
    numbers = scattered(5_000)
    with pytest.raises(ProgramTooLongError):
        arp_program(OWN, v4(numbers))
    coarse = arp_program(OWN, v4(numbers), 8)
    assert all(run(coarse, arp(IPv4Address(number))) for number in numbers)


@pytest.mark.parametrize(
    ("program", "steps"),
    [
        (
            lambda bits: arp_program(OWN, v4(range(0, 1 << 32, 1 << 20)), bits),
            IPV4_STEPS,
        ),
        (
            lambda bits: ndp_program(OWN, v6(range(0, 1 << 128, 1 << 116)), bits),
            IPV6_STEPS,
        ),
    ],
)
def test_the_last_step_takes_everything(
    program: Callable[[int | None], Program], steps: Sequence[int | None]
) -> None:
    with pytest.raises(ProgramTooLongError):
        program(steps[-2])
    assert len(program(steps[-1])) < 20


def test_levels_have_names() -> None:
    assert [level(bits) for bits in (0, 8, None)] == [Level.EXACT, Level.PREFIXES, Level.ANY]


def test_no_service_no_question() -> None:
    assert not run(arp_program(OWN, v4([])), arp(IPv4Address("10.0.0.1")))
    assert not run(ndp_program(OWN, v6([])), ndp(IPv6Address("fd00::1")))
    assert run(arp_program(OWN, v4([])), arp(IPv4Address("10.0.0.1"), operation=2, to=OWN))


def test_an_instruction_is_eight_bytes() -> None:
    assert assemble(DROP_ALL) == bytes.fromhex("0600000000000000")

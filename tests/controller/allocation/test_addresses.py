"""The lowest free address, found without walking the ranges."""

import time
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from controller.allocation.addresses import FreeAddresses
from kube.address import Range

RANGES = (Range(4, 100, 103), Range(4, 10, 12), Range(4, 50, 50))
ALL = [value for span in RANGES for value in range(span.first, span.last + 1)]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(ALL)), max_size=60))
def test_it_is_the_first_in_order_whatever_was_taken_and_freed(
    steps: list[tuple[bool, int]],
) -> None:
    used: set[int] = set()
    free = FreeAddresses(RANGES, lambda value: value not in used)
    for take, value in steps:
        if take:
            used.add(value)
        elif value in used:
            used.discard(value)
            free.free(value)
        assert free.lowest() == next((one for one in ALL if one not in used), None)


def test_an_address_that_is_taken_and_freed_for_ever_is_remembered_once() -> None:
    used: set[int] = set()
    free = FreeAddresses([Range(4, 0, 9)], lambda value: value not in used)
    for _ in range(1_000):
        value = free.lowest()
        assert value == 0
        used.add(value)
        free.lowest()
        used.discard(value)
        free.free(value)
    assert len(free._spans[0].freed) == 1


def test_a_full_pool_of_ten_million_is_searched_as_fast_as_an_empty_one() -> None:
    size = 10_000_000
    first = int(IPv4Address("10.0.0.0"))
    free = FreeAddresses([Range(4, first, first + size - 1)], lambda value: value >= limit)
    limit = first
    began = time.process_time()
    for limit in range(first, first + 100_000):
        assert free.lowest() == limit
    early = time.process_time() - began
    # The mark walks over what was taken meanwhile once, and never again.
    limit = first + size - 100_000
    assert free.lowest() == limit
    began = time.process_time()
    for limit in range(first + size - 100_000, first + size):
        assert free.lowest() == limit
    assert time.process_time() - began < 3 * early

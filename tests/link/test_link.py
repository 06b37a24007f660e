"""Frames, filters, interface rules and the link table: pure parts."""

import re
from collections import Counter
from dataclasses import replace
from functools import partial
from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link import frame
from link.drop import DecodeError, DropReason
from link.interface import Ineligible, Interface, eligibility, may_answer
from link.mac import BROADCAST, format_mac, is_group, parse_mac
from link.netlink.table import (
    AddressGone,
    AddressSet,
    Change,
    GatewaysSet,
    LinkGone,
    LinkSet,
    LinkTable,
)

MAC = parse_mac("02:00:00:00:00:0a")
ETH0 = Interface(2, "eth0", MAC, up=True, carrier=True, broadcast=True, noarp=False)


def changed(**fields: object) -> Interface:
    values = {name: getattr(ETH0, name) for name in Interface.__dataclass_fields__}
    return Interface(**{**values, **fields})


def test_mac_text_both_ways() -> None:
    assert format_mac(MAC) == "02:00:00:00:00:0a"
    assert is_group(BROADCAST)
    assert not is_group(MAC)
    with pytest.raises(ValueError, match="not a MAC address"):
        parse_mac("02:00")


@given(st.binary(max_size=80))
def test_any_bytes_decode_or_raise_the_one_error(data: bytes) -> None:
    try:
        decoded = frame.decode(data)
    except DecodeError as error:
        assert error.reason is DropReason.TRUNCATED
        assert len(data) < 14
    else:
        assert frame.encode(decoded)[: len(data)] == data


def test_short_frames_are_padded_to_the_minimum() -> None:
    encoded = frame.encode(frame.EthernetFrame(BROADCAST, MAC, 0x0806, b"x"))
    assert len(encoded) == 60


EXCLUDE = re.compile("(^veth.*)|(^lo$)")


@pytest.mark.parametrize(
    ("interface", "expected"),
    [
        (ETH0, None),
        (changed(carrier=False), None),
        (changed(name="veth12"), Ineligible.EXCLUDED),
        (changed(name="loop"), None),
        (changed(up=False), Ineligible.DOWN),
        (changed(master=7), Ineligible.ENSLAVED),
        (changed(noarp=True), Ineligible.NOARP),
        (changed(broadcast=False), Ineligible.NO_BROADCAST),
        (changed(mac=b""), Ineligible.NO_MAC),
    ],
)
def test_which_interfaces_may_answer(interface: Interface, expected: Ineligible | None) -> None:
    assert eligibility(interface, EXCLUDE) is expected


def test_exclusion_is_a_search_and_optional() -> None:
    assert eligibility(changed(name="myveth"), re.compile("veth")) is Ineligible.EXCLUDED
    assert eligibility(changed(name="veth12"), None) is None


ADDRESS = ip_interface("192.0.2.1/24")


def test_table_keeps_addresses_over_link_changes_and_reports_real_changes_only() -> None:
    table = LinkTable()
    steps: list[tuple[Change, bool]] = [
        (LinkSet(ETH0), True),
        (LinkSet(ETH0), False),
        (AddressSet(2, ADDRESS), True),
        (AddressSet(2, ADDRESS), False),
        (LinkSet(changed(carrier=False)), True),
        (AddressSet(9, ADDRESS), False),
    ]
    for change, expected in steps:
        assert table.apply(change) is expected
    assert table.interfaces()[2] == changed(carrier=False, addresses=frozenset({ADDRESS}))
    assert table.apply(AddressGone(2, ADDRESS))
    assert not table.apply(LinkGone(9))
    assert table.apply(LinkGone(2))
    assert table.interfaces() == {}


def test_of_unwanted_links_the_table_tells_nothing_but_keeps_addresses_and_macs() -> None:
    table = LinkTable(partial(may_answer, re.compile("^veth")))
    veth = changed(name="veth0", index=7, mac=b"\x02veth7")
    assert table.apply(LinkSet(ETH0))
    for change in (
        LinkSet(veth),
        AddressSet(7, ADDRESS),
        LinkSet(replace(veth, carrier=False)),
        GatewaysSet({7: frozenset({ip_address("192.0.2.9")})}),
    ):
        assert not table.apply(change)
    assert table.interfaces() == {2: ETH0}
    assert set(table.macs) == {ETH0.mac, veth.mac}
    # Under another name it is wanted, with all that was learnt before.
    assert table.apply(LinkSet(replace(veth, name="lan0")))
    lan0 = table.interfaces()[7]
    assert (lan0.addresses, len(lan0.gateways)) == (frozenset({ADDRESS}), 1)
    assert table.apply(LinkSet(veth))
    assert table.interfaces() == {2: ETH0}
    assert not table.apply(LinkGone(7))
    assert set(table.macs) == {ETH0.mac}


CHANGES = st.one_of(
    st.builds(
        LinkSet,
        st.builds(
            changed,
            index=st.integers(1, 3),
            name=st.sampled_from(["eth0", "veth0"]),
            up=st.booleans(),
            mac=st.sampled_from([b"", b"\x02same0", b"\x02other"]),
        ),
    ),
    st.builds(LinkGone, st.integers(1, 3)),
    st.builds(AddressSet, st.integers(1, 3), st.just(ADDRESS)),
    st.builds(AddressGone, st.integers(1, 3), st.just(ADDRESS)),
    st.builds(
        GatewaysSet,
        st.dictionaries(st.integers(1, 3), st.just(frozenset({ip_address("192.0.2.9")}))),
    ),
)


@given(st.lists(CHANGES, max_size=20))
def test_what_is_told_is_what_is_wanted_of_all_there_is(changes: list[Change]) -> None:
    """Beside a table that wants everything: the same links, filtered; told if they differ."""
    wanted = partial(may_answer, re.compile("^veth"))
    table, whole = LinkTable(wanted), LinkTable()
    for change in changes:
        before = table.interfaces()
        told = table.apply(change)
        whole.apply(change)
        every = whole.interfaces()
        after = table.interfaces()
        assert after == {index: link for index, link in every.items() if wanted(link)}
        assert told is (before != after)
        assert dict(table.macs) == Counter(link.mac for link in every.values())

"""Frames, filters, interface rules and the link table: pure parts."""

import re
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link import frame
from link.drop import DecodeError, DropReason
from link.interface import Ineligible, Interface, eligibility
from link.mac import BROADCAST, format_mac, is_group, parse_mac
from link.table import AddressGone, AddressSet, Change, LinkGone, LinkSet, LinkTable

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

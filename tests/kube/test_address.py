"""Addresses and ranges as Go's net package reads them."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.address import Range, parse_ip, parse_range


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("FC00:F853:0CCD:e799::0001", "fc00:f853:ccd:e799::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ],
)
def test_text_is_that_of_go(text: str, expected: str) -> None:
    assert str(parse_ip(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2.3",
        "01.2.3.4",
        "1.2.3.4 ",
        "fe80::1%eth0",
        "host",
        "1.2.3.4/32",
        "\u0661.2.3.4",
    ],
)
def test_refuses_what_go_refuses(text: str) -> None:
    assert parse_ip(text) is None


def _span(first: str, last: str) -> Range:
    return Range(ip_address(first).version, int(ip_address(first)), int(ip_address(last)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.0/24", _span("10.0.0.0", "10.0.0.255")),
        ("10.0.0.77/24", _span("10.0.0.0", "10.0.0.255")),
        ("10.0.0.7/32", _span("10.0.0.7", "10.0.0.7")),
        ("0.0.0.0/0", _span("0.0.0.0", "255.255.255.255")),
        ("2001:db8::/64", _span("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff")),
        ("::ffff:10.0.0.0/120", _span("10.0.0.0", "10.0.0.255")),
        ("10.0.0.1-10.0.0.9", _span("10.0.0.1", "10.0.0.9")),
        (" 10.0.0.1 - 10.0.0.1 ", _span("10.0.0.1", "10.0.0.1")),
        ("2001:db8::1-2001:db8::9", _span("2001:db8::1", "2001:db8::9")),
    ],
)
def test_ranges(text: str, expected: Range) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.1", "write 10.0.0.1/32"),
        ("10.0.0.0/33", "prefix length"),
        ("10.0.0.0/-1", "not a range"),
        ("10.0.0.0/", "prefix length"),
        ("10.0.0.0/255.255.255.0", "not a CIDR"),
        ("10.0.0.0/\u0662\u0664", "not a CIDR"),
        (" 10.0.0.0/24", "not a CIDR"),
        ("10.0.0.9-10.0.0.1", "reversed"),
        ("10.0.0.1-2001:db8::1", "mixes"),
        ("10.0.0.1-", "not a range"),
        ("", "neither"),
    ],
)
def test_refuses_ranges_with_the_reason(text: str, message: str) -> None:
    found = parse_range(text)
    assert isinstance(found, str)
    assert message in found


@given(st.text(max_size=60))
def test_any_text_gives_a_range_or_a_reason(text: str) -> None:
    found = parse_range(text)
    assert isinstance(found, str) or found.first <= found.last

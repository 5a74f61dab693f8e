"""Networks of a key, against `ipaddress` as the model."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latchkey.credentials.networks import (
    Network,
    NetworkSet,
    network_within,
    parse_network,
)

v4 = st.integers(0, 2**32 - 1).map(IPv4Address)
v6 = st.integers(0, 2**128 - 1).map(IPv6Address)
v4_networks = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False), v4, st.integers(0, 32)
)
v6_networks = st.builds(
    lambda address, length: IPv6Network((address, length), strict=False), v6, st.integers(0, 128)
)
networks = v4_networks | v6_networks


def near(network: Network) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    """Addresses at the edges of a network, where mistakes are."""
    first, last = int(network.network_address), int(network.broadcast_address)
    kind: Callable[[int], IPv4Address | IPv6Address] = type(network.network_address)
    edges = [number for number in (first - 1, first, last, last + 1) if number >= 0]
    return st.sampled_from([kind(n) for n in edges if n < 1 << network.max_prefixlen])


@given(st.data(), st.lists(networks, max_size=6))
def test_an_address_lies_in_a_set_where_it_lies_in_one_network(
    data: st.DataObject, chosen: list[Network]
) -> None:
    addresses: list[IPv4Address | IPv6Address] = [data.draw(v4), data.draw(v6)]
    addresses += [data.draw(near(network)) for network in chosen]
    held = NetworkSet(chosen)
    for address in addresses:
        assert held.contains(address) == any(address in network for network in chosen)


@given(networks, st.lists(networks, max_size=4))
def test_a_network_is_within_one_that_contains_all_of_it(
    inner: Network, outers: list[Network]
) -> None:
    edges = {inner.network_address, inner.broadcast_address}
    expected = any(all(edge in outer for edge in edges) for outer in outers)
    assert network_within(inner, outers) == expected


@given(networks)
def test_what_is_written_is_read_again(network: Network) -> None:
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        return
    assert parse_network(str(network)) == network


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.1", "192.0.2.1/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("2001:DB8:0:0::/32", "2001:db8::/32"),
        # Mapped addresses reach the check as IPv4.
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
    ],
)
def test_forms_of_a_network(text: str, network: str) -> None:
    assert parse_network(text) == ip_network(network)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("192.0.2.1/24", "did you mean 192.0.2.0/24"),
        ("2001:db8::1/32", "did you mean 2001:db8::/32"),
        ("fe80::1%eth0", "zone identifier"),
        ("fe80::%25eth0/64", "zone identifier"),
        *((text, "not a network") for text in ("", "/", "example.com", "192.0.2.0/33", "1.2.3")),
        *((text, "not a network") for text in ("10.0.0.0/255.0.0.0", "10.0.0.0/08", "10/8")),
        *((text, "not a network") for text in (" 10.0.0.0/8", "10.0.0.0/8 ", "10.0.0.0/+8")),
        *((text, "not a network") for text in ("١٠.0.0.0/8", "1" * 1000, "[::1]", "::1/129")),
    ],
)
def test_what_is_no_network(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_network(text)


def test_no_family_contains_the_other() -> None:
    everything_v4, everything_v6 = (
        NetworkSet([ip_network("0.0.0.0/0")]),
        NetworkSet([ip_network("::/0")]),
    )
    assert everything_v4.contains(ip_address("192.0.2.1"))
    assert not everything_v4.contains(ip_address("::1"))
    assert everything_v6.contains(ip_address("::1"))
    assert not everything_v6.contains(ip_address("192.0.2.1"))

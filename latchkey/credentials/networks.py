"""Networks that a key may be used from: parsing of CIDR blocks, inclusion, and the lookup."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Network = IPv4Network | IPv6Network

MOST_NETWORKS = 32
_LONGEST = 64
_MAPPED_BITS = 96
_FORM = "not a network; write 192.0.2.0/24 or 2001:db8::/32"


def parse_network(text: str) -> Network:
    """Parse ``192.0.2.0/24``, ``2001:db8::/32`` or one address.

    A block of IPv4-mapped addresses becomes the IPv4 block. Raises ValueError, which says what is
    wrong, also for a zone identifier and for bits behind the prefix.
    """
    if len(text) > _LONGEST or not text.isascii():
        raise ValueError(_FORM)
    if "%" in text:
        raise ValueError("a network cannot have a zone identifier")
    _, slash, length = text.partition("/")
    # `ipaddress` also takes a netmask such as /255.255.255.0.
    if slash and not (length.isdigit() and str(int(length)) == length):
        raise ValueError(_FORM)
    try:
        network = ip_network(text)
    except ValueError:
        try:
            wider = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(_FORM) from None
        raise ValueError(f"has bits set behind its prefix; did you mean {wider}?") from None
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def network_within(inner: Network, outers: Iterable[Network]) -> bool:
    """Whether one of the ``outers`` contains the whole of ``inner``."""
    return any(_contains(outer, inner) for outer in outers)


def _contains(outer: Network, inner: Network) -> bool:
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and inner.subnet_of(outer)


class NetworkSet:
    """Networks, arranged so that an address is looked up once per length of a prefix."""

    __slots__ = ("_v4", "_v6")

    def __init__(self, networks: Iterable[Network]) -> None:
        by_shift: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
        for network in networks:
            shift = network.max_prefixlen - network.prefixlen
            prefixes = by_shift[network.version].setdefault(shift, set())
            prefixes.add(int(network.network_address) >> shift)
        self._v4, self._v6 = (
            tuple((shift, frozenset(prefixes)) for shift, prefixes in by_shift[version].items())
            for version in (4, 6)
        )

    def contains(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether the address lies in one of the networks."""
        number = int(address)
        for shift, prefixes in self._v4 if address.version == 4 else self._v6:
            if number >> shift in prefixes:
                return True
        return False

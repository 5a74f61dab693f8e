"""Client addresses, in every form in which servers and proxies write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latchkey.addresses import ClientAddresses, parse_address


def environ(peer: str = "", forwarded: str | None = None) -> dict[str, str]:
    headers = {"REMOTE_ADDR": peer}
    if forwarded is not None:
        headers["HTTP_X_FORWARDED_FOR"] = forwarded
    return headers


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:443", "203.0.113.9"),
        ("203.0.113.9:0", "203.0.113.9"),
        ("203.0.113.9:65535", "203.0.113.9"),
        ('"203.0.113.9:443"', "203.0.113.9"),
        ('"203.0.113.9"', "203.0.113.9"),
        # RFC 7239 section 6 lets a proxy hide the port.
        ('"203.0.113.9:_gazonk"', "203.0.113.9"),
        ("2001:db8::5", "2001:db8::5"),
        ("2001:DB8:0:0::5", "2001:db8::5"),
        ("[2001:db8::5]", "2001:db8::5"),
        ("[2001:db8::5]:443", "2001:db8::5"),
        ('"[2001:db8::5]:443"', "2001:db8::5"),
        ('"[2001:db8::5]"', "2001:db8::5"),
        ("[2001:db8::5]:_hidden", "2001:db8::5"),
        ("[::1]:443", "::1"),
        ("[::]:1", "::"),
        # Without brackets, a port can be distinguished from a group only after all eight groups.
        ("2001:db8:1:2:3:4:5:6:443", "2001:db8:1:2:3:4:5:6"),
        ("2001:db8::1:443", "2001:db8::1:443"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%eth0]", "fe80::1"),
        ("[fe80::1%25eth0]:443", "fe80::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("::FFFF:cb00:7109", "203.0.113.9"),
        ("0:0:0:0:0:ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]", "203.0.113.9"),
        ("::ffff:203.0.113.9:443", "203.0.113.9"),
        ("0:0:0:0:0:ffff:203.0.113.9:443", "203.0.113.9"),
        ("64:ff9b::203.0.113.9:443", "64:ff9b::cb00:7109"),
        ("[::ffff:203.0.113.9]:443", "203.0.113.9"),
        ("  203.0.113.9\t", "203.0.113.9"),
        (" [2001:db8::5]:443 ", "2001:db8::5"),
    ],
)
def test_valid_addresses(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", '"', '""', '"203.0.113.9', "unknown", '"unknown"', "_hidden", '"_hidden"'),
        *("unix:", "unix:/run/nginx.sock", "localhost", "example.com", "for=203.0.113.9"),
        *("203.0.113", "203.0.113.999", "203.0.113.09", "0xcb.0.113.9", "3405803785", "*"),
        *("203.0.113.9:", "203.0.113.9:65536", "203.0.113.9:100000", "203.0.113.9:x"),
        *("203.0.113.9:-1", "203.0.113.9:+1", "203.0.113.9: 1", "203.0.113.9:1:1", "203.0.113.9:_"),
        *("203.0.113.9:٤", "٢٠٣.0.113.9", "203.0.113.9%eth0", "[203.0.113.9]", "203.0.113.9/32"),
        *("[", "[]", "[]:1", "[::1", "::1]", "[::1]443", "[::1]:", "[::1]:65536", "[::1]:x"),
        *(
            "[[::1]]",
            "[::1]]",
            "[::1]:1:1",
            "[ ::1]",
            "fe80::1%",
            "[fe80::1%]",
            ":::1",
            ":",
            "::1::",
        ),
        *("2001:db8:1:2:3:4:5:6:7:8", "2001:db8::/64", "2001:db8::12345", ":443", "\x00", "\ud800"),
        *("'203.0.113.9'", '""203.0.113.9""', "203.0.113.9 203.0.113.8", "1" * 100_000),
        *("[" * 100_000, ":" * 100_000, '"' * 100_000, "[::1%" + "x" * 100_000 + "]:1"),
    ],
)
def test_invalid_addresses(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("peer", "counted", "written"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1:2:3:4:5:6"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64", "2001:db8:1:2::"),
        (
            "2001:DB8:1:2:ffff:ffff:ffff:ffff",
            "2001:db8:1:2::/64",
            "2001:db8:1:2:ffff:ffff:ffff:ffff",
        ),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64", "2001:db8:1:3::1"),
        ("::1", "::/64", "::1"),
        ("fe80::1%eth0", "fe80::/64", "fe80::1"),
        # An IPv4 client of a server that listens on both.
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7", "192.0.2.7"),
        # A unix socket: all its callers are counted as one.
        ("", "", None),
        ("not an address", "not an address", None),
    ],
)
def test_the_address_of_the_peer(peer: str, counted: str, written: str | None) -> None:
    # Forwarded headers are ignored unless there is a trusted proxy.
    for headers in (environ(peer), environ(peer, "203.0.113.9")):
        addresses = ClientAddresses()
        assert addresses.counted(headers) == counted
        assert addresses.written(headers) == written
        assert addresses.forwarded(headers) is None


def test_no_peer() -> None:
    for proxies in (0, 1):
        addresses = ClientAddresses(proxies)
        assert (addresses.counted({}), addresses.find({})) == ("", None)


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        ("203.0.113.9", 1, "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", 1, "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", 2, "198.51.100.1"),
        ("198.51.100.1,203.0.113.9,192.0.2.44", 2, "203.0.113.9"),
        ("  198.51.100.1  ,\t203.0.113.9 ", 2, "198.51.100.1"),
        ("198.51.100.1:1234, 203.0.113.9:5678", 2, "198.51.100.1"),
        ("1.2.3.4:5678", 1, "1.2.3.4"),
        # Entries that a client wrote itself are further left and ignored.
        ("6.6.6.6, 203.0.113.9", 1, "203.0.113.9"),
        ("garbage, 203.0.113.9", 1, "203.0.113.9"),
        ('"6.6.6.6, 203.0.113.9', 1, "203.0.113.9"),
        ("2001:db8::5", 1, "2001:db8::/64"),
        ("[2001:db8::5]", 1, "2001:db8::/64"),
        ('"[2001:db8::5]:443"', 1, "2001:db8::/64"),
        ("[fe80::5%25eth0]:443", 1, "fe80::/64"),
        ("::ffff:203.0.113.9", 1, "203.0.113.9"),
        ("[::ffff:203.0.113.9]:443", 1, "203.0.113.9"),
        # The list is too short, or the entry is not an address: the peer's address is used.
        ("203.0.113.9", 2, "192.0.2.7"),
        ("", 1, "192.0.2.7"),
        (None, 1, "192.0.2.7"),
        ("garbage", 1, "192.0.2.7"),
        ("203.0.113.9, unknown", 1, "192.0.2.7"),
        ("203.0.113.9, ", 1, "192.0.2.7"),
        ("203.0.113.999", 1, "192.0.2.7"),
        ("203.0.113.9, unix:", 1, "192.0.2.7"),
        (",,,,", 3, "192.0.2.7"),
    ],
)
def test_the_address_behind_proxies(forwarded: str | None, proxies: int, address: str) -> None:
    headers = environ("192.0.2.7", forwarded)
    addresses = ClientAddresses(proxies)
    assert addresses.counted(headers) == address
    assert (addresses.forwarded(headers) is None) is (address == "192.0.2.7")


def test_proxies_at_a_unix_socket() -> None:
    addresses = ClientAddresses(1)
    assert addresses.counted(environ("", "203.0.113.9:1")) == "203.0.113.9"
    assert addresses.counted(environ("", "garbage")) == ""
    assert addresses.find(environ("", "garbage")) is None


@given(st.text(), st.text(), st.integers(0, 16))
def test_no_header_crashes_it(peer: str, forwarded: str, proxies: int) -> None:
    addresses = ClientAddresses(proxies)
    counted = addresses.counted(environ(peer, forwarded))
    assert counted == addresses.counted(environ(peer, forwarded))


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_every_address_is_read_in_every_form(address: object, port: int) -> None:
    plain = parse_address(str(address))
    assert plain is not None
    if ":" in str(address):
        forms = [f"[{address}]", f"[{address}]:{port}", f'"[{address}]:{port}"']
    else:
        forms = [f"{address}:{port}", f'"{address}:{port}"']
    assert [parse_address(form) for form in forms] == [plain] * len(forms)


def test_a_peer_that_is_a_proxy_never_stands_for_a_client() -> None:
    addresses = ClientAddresses(1, or_peer=False)
    for forwarded in (None, "", "unknown", "192.0.2.1,"):
        environ = {"REMOTE_ADDR": "10.0.0.1"}
        if forwarded is not None:
            environ["HTTP_X_FORWARDED_FOR"] = forwarded
        assert addresses.find(environ) is None
        assert addresses.written(environ) is None
        assert addresses.certain(environ) is None
        assert addresses.counted(environ) == ""
    environ = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "6.6.6.6, 192.0.2.1"}
    assert addresses.written(environ) == addresses.counted(environ) == "192.0.2.1"

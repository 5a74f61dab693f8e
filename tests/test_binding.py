"""Listen addresses: gunicorn accepts the same ones, with the same meaning."""

from __future__ import annotations

from typing import Any

import pytest
from gunicorn.config import Config

from latchkey.binding import InheritedSocket, TcpAddress, UnixAddress, parse_addresses, parse_origin

TAKEN: dict[str, list[Any]] = {
    "127.0.0.1:8080": [("127.0.0.1", 8080)],
    "LOCALHOST:0": [("localhost", 0)],
    "a-b.example_c:080": [("a-b.example_c", 80)],
    "tcp://10.0.0.1:80": [("10.0.0.1", 80)],
    "[::]:80": [("::", 80)],
    "[0:0::1]:80": [("::1", 80)],
    "unix:/run/a.sock": ["/run/a.sock"],
    "unix:///run/a.sock": ["/run/a.sock"],
    "unix:a b:99999": ["a b:99999"],
    "fd://3": [3],
    "fd://3,fd://4": [3, 4],
    "127.0.0.1:80, [::1]:80 ,unix:a": [("127.0.0.1", 80), ("::1", 80), "a"],
    "0.0.0.0:80,0.0.0.0:81,[::1]:80": [("0.0.0.0", 80), ("0.0.0.0", 81), ("::1", 80)],  # noqa: S104
    "127.0.0.1:0,127.0.0.1:0": [("127.0.0.1", 0), ("127.0.0.1", 0)],
}
REFUSED = [
    *("", ",", "127.0.0.1:80,", "http://127.0.0.1:9116", "https://a:1", "::1:9111", "::1", "[::1]"),
    *("[::1]80", "[::1%lo]:80", "[127.0.0.1]:80", "[a]:80", "999.1.1.1:80", "127.1:80", "1:2:3"),
    *("a:b", "a:-1", "a:+1", "a:1.0", "a:65536", "a:000080", "*:80", "a/b:80", ".a:80", "-a:80"),
    *(
        "a..b:80",
        f"{'a' * 64}:80",
        f"{'a.' * 130}b:80",
        "\u00e4:80",
        "a b:80",
        "a\n:80",
        "user@a:80",
    ),
    *("unix:", "unix:/run/", "unix:/run/unix:a", f"unix:/{'a' * 107}", f"unix:/{'ä' * 54}"),
    *("fd://", "fd://x", "fd://-1", "fd://3,127.0.0.1:80", "127.0.0.1:80,fd://3", "fd://3,fd://3"),
    *("a:80,a:80", "a:80,A:80", "0.0.0.0:80,127.0.0.1:80", "[::]:80,0.0.0.0:80", "unix:a,unix:a"),
    *("[::]:80,[0::0]:80", "[::1]:80,[::]:80"),
]


@pytest.mark.parametrize("text", TAKEN)
def test_gunicorn_parses_an_address_the_same_way(text: str) -> None:
    addresses = parse_addresses(text)
    config = Config()
    config.set("bind", [str(address) for address in addresses])
    assert config.address == TAKEN[text]
    for address, read in zip(addresses, TAKEN[text], strict=True):
        match address:
            case TcpAddress(host, port):
                assert (host, port) == read
            case UnixAddress(path):
                assert path == read
            case InheritedSocket(descriptor):
                assert descriptor == read


@pytest.mark.parametrize("text", REFUSED)
def test_an_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the setting's line says what is allowed
        parse_addresses(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:80", "http://[::1]:80"),
        ("a:80", "http://a:80"),
        ("a:0", None),
    ],
)
def test_the_url_for_local_programs(text: str, url: str | None) -> None:
    (address,) = parse_addresses(text)
    assert isinstance(address, TcpAddress)
    assert address.url == url


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("", ("", "")),
        ("https://Keys.Example/", ("https", "keys.example")),
        ("https://a:443", ("https", "a")),
        ("https://a:80", ("https", "a:80")),
        ("http://a:80", ("http", "a")),
        ("http://[::1]", ("http", "[::1]")),
        ("http://[::1]:8080", ("http", "[::1]:8080")),
    ],
)
def test_the_origin_of_a_public_url(text: str, origin: tuple[str, str]) -> None:
    assert parse_origin(text) == origin

"""The harness of several boxes itself: places, the proxy, and the judgement of answers."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.boxes.asking import Asked
from tests.support.boxes.box import Box
from tests.support.boxes.changing import Office, changing
from tests.support.boxes.histories import FORBIDDEN, GOOD, REFUSED, Change, Histories
from tests.support.boxes.places import can_separate
from tests.support.boxes.tcp_proxy import Direction, TcpProxy
from tests.support.boxes.traffic import traffic_to
from tests.support.faults.service_processes import is_alive, wait_until
from tests.support.ports import free_port

pytestmark = pytest.mark.integration

_KEY = "ak_live_test"
_UNLIMITED = {"LATCHKEY_FAILURE_LIMIT": "off"}


def judged(*answers: tuple[float, float, int]) -> Histories:
    """A key that is disabled from 10 to 20, and whose change to enabled lasts from 30 to 40."""
    histories = Histories()
    histories.of(_KEY).changes += [Change(10, REFUSED, 20), Change(30, GOOD, 40)]
    for began, ended, status in answers:
        histories.note(_KEY, Asked(began, ended, status, b""))
    return histories


@pytest.mark.parametrize(
    ("answer", "late", "refused"),
    [
        ((1, 2, GOOD), 0, 0),
        ((1, 2, REFUSED), 0, 1),
        ((9, 11, REFUSED), 0, 0),
        ((19, 25, GOOD), 0, 0),
        ((20, 25, GOOD), 1, 0),
        ((21, 29, REFUSED), 0, 0),
        ((21, 29, FORBIDDEN), 0, 1),
        ((21, 31, GOOD), 0, 0),
        ((35, 36, GOOD), 0, 0),
        ((35, 36, REFUSED), 0, 0),
        ((41, 42, REFUSED), 0, 1),
        ((21, 29, 500), 0, 0),
    ],
)
def test_each_answer_is_judged_by_the_changes_around_it(
    answer: tuple[float, float, int], late: int, refused: int
) -> None:
    histories = judged(answer)
    assert len(histories.late()) == late
    assert len(histories.refused_wrongly()) == refused


def test_a_change_without_an_answer_may_have_happened_or_not() -> None:
    histories = Histories()
    histories.of(_KEY).changes.append(Change(10, REFUSED))
    for status in (GOOD, REFUSED):
        histories.note(_KEY, Asked(50, 51, status, b""))
    assert histories.late() == histories.refused_wrongly() == []


# ---- the proxy


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it receives, and ends when its client does."""

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while chunk := connection.recv(1024):
                connection.sendall(chunk)

    def accept(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    address = ("127.0.0.1", free_port())
    with socket.create_server(address) as listening:
        thread = threading.Thread(target=accept, args=(listening,), daemon=True)
        thread.start()
        yield address
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture
def proxy(echo: tuple[str, int]) -> Iterator[TcpProxy]:
    with TcpProxy(socket.create_server(("127.0.0.1", free_port())), echo) as proxy:
        yield proxy


def connected(proxy: TcpProxy) -> socket.socket:
    """A new connection through the proxy, over which something was sent back."""
    connection = socket.create_connection(proxy.address, 10)
    connection.sendall(b"first")
    assert connection.recv(1024) == b"first"
    return connection


def received(connection: socket.socket, seconds: float = 0.2) -> bytes | None:
    """What arrives within ``seconds``: b"" is the end, None is nothing."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1024)
    except TimeoutError:
        return None


def test_the_proxy_passes_on_and_closes(proxy: TcpProxy) -> None:
    seen: list[bytes] = []
    proxy.see = lambda peer, chunk: seen.append(chunk)
    with connected(proxy) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert received(connection, 10) == b""
    assert seen == [b"first"]
    assert proxy.accepted == 1


def test_what_is_held_is_delivered_later(proxy: TcpProxy) -> None:
    with connected(proxy) as connection:
        proxy.hold()
        connection.sendall(b"held")
        assert received(connection) is None
        proxy.heal()
        assert received(connection, 10) == b"held"


def test_what_is_lost_stays_lost_and_its_connection_is_reset(proxy: TcpProxy) -> None:
    with connected(proxy) as connection:
        proxy.lose(frozenset({Direction.TO_BOX}))
        connection.sendall(b"lost")
        assert received(connection) is None
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            received(connection, 10)
    connected(proxy).close()


def test_refused_connections_are_reset(proxy: TcpProxy) -> None:
    with connected(proxy) as connection:
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            received(connection, 10)
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(proxy.address, 10) as connection,
    ):
        received(connection, 10)
    proxy.heal()
    connected(proxy).close()


def test_a_half_closed_connection_still_takes_bytes(proxy: TcpProxy) -> None:
    with connected(proxy) as connection:
        proxy.half_close()
        assert received(connection, 10) == b""
        connection.sendall(b"into the void")
    proxy.heal()
    connected(proxy).close()


# ---- a box


@pytest.mark.parametrize("apart", [True, False] if can_separate() else [False])
def test_a_box_has_its_own_memory_and_leaves_nothing(tmp_path: Path, apart: bool) -> None:
    with closing(Box(tmp_path, apart=apart, settings=_UNLIMITED)) as box:
        box.start()
        pids = box.pids()
        memory = Path(f"/proc/{pids[0]}/root/dev/shm")
        if not apart:
            memory = Path(box.settings["LATCHKEY_SHARED_MEMORY"])
        (segment,) = memory.glob(f"latchkey-{os.geteuid()}-*")
        assert not Path("/dev/shm", segment.name).exists()
        if apart:
            check_that_its_network_is_its_own(box, pids)
            check_that_traffic_is_judged(box)
    wait_until(lambda: not any(map(is_alive, pids)), "the end of its processes")
    assert apart or not memory.exists()


def check_that_its_network_is_its_own(box: Box, pids: list[int]) -> None:
    for kind in ("net", "mnt"):
        own = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids}
        assert own.isdisjoint({os.readlink(f"/proc/self/ns/{kind}")})


def check_that_traffic_is_judged(box: Box) -> None:
    """Each kind of change takes effect before its answer, on one box."""
    issuer = box.create_key("live", "--scope", "*", "--scope", "accounts:write")
    with traffic_to([box], box.issue()) as traffic:
        assert len(traffic.everybody) == 2
        office = Office(issuer, [box], traffic)
        with changing(office, count=2) as changers:
            changers.await_more(24, timeout=100)
        traffic.await_answers(traffic.beacon, GOOD, healthy=True)
    assert traffic.histories.late() == traffic.histories.refused_wrongly() == []
    assert traffic.histories.count() > 24
    assert not traffic.histories.undecided()
    assert not office.refused

"""The containers of the tests, made of namespaces: an address can be used again at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.support.boxes.places import can_separate
from tests.support.deployment.container import Container, Mount, Plan
from tests.support.deployment.images import Image
from tests.support.deployment.network import Network

PROGRAM = ["sleep", "120"]


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """A network without containers."""
    if not can_separate():
        pytest.skip("needs namespaces, which only root may create")
    try:
        made = Network(tmp_path)
    except OSError as error:
        pytest.skip(f"needs namespaces with a network: {error}")
    with closing(made):
        yield made


def plan(address: str, mounts: list[Mount]) -> Plan:
    """A container that runs the programs of this machine."""
    image = Image(program=PROGRAM, command=[], stop_signal="SIGKILL")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return Plan(
        name="one", address=address, image=image, environment=environment, mounts=mounts, hosts={}
    )


def test_an_address_is_free_when_its_container_has_ended(network: Network, tmp_path: Path) -> None:
    """Even while the kernel still has the network namespace of the container that has ended."""
    address = network.new_address()
    with ExitStack() as namespaces:
        for name in ("first", "second"):
            directory = tmp_path / name
            directory.mkdir()
            container = Container(plan(address, []), network, directory, PROGRAM)
            namespaces.callback(container.kill)
            namespaces.enter_context(open(f"/proc/{container.pid}/ns/net"))
            found = container.execute("ip", "-brief", "address", "show", "eth0")
            assert f"{address}/16" in found.stdout, found
            container.kill()


def test_a_container_that_cannot_begin_says_why(network: Network, tmp_path: Path) -> None:
    absent = Mount(tmp_path / "absent", "/absent")
    with pytest.raises(AssertionError, match="absent"):
        Container(plan(network.new_address(), [absent]), network, tmp_path, PROGRAM)


def test_a_container_that_has_ended_says_what_it_printed(network: Network, tmp_path: Path) -> None:
    program = ["sh", "-c", "echo the end"]
    container = Container(plan(network.new_address(), []), network, tmp_path, program)
    container.wait(60)
    with pytest.raises(AssertionError, match="the end"):
        container.execute("true")


def test_the_machine_keeps_its_hardware_address(network: Network, tmp_path: Path) -> None:
    """Otherwise what containers send to it is lost for a while when another one begins or ends."""
    container = Container(plan(network.new_address(), []), network, tmp_path, PROGRAM)
    try:
        look_up = "(exec 3<>/dev/tcp/172.18.0.1/9) 2>/dev/null; ip neigh show 172.18.0.1"
        found = container.execute("bash", "-c", look_up)
        assert "lladdr 02:42:ac:12:00:01" in found.stdout, found
    finally:
        container.kill()

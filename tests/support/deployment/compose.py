"""What `docker compose` does with a file, for the attributes and commands that the guide uses."""

from __future__ import annotations

import os
import re
import shlex
from itertools import count
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.support.deployment.container import Container, Mount, Plan
from tests.support.deployment.images import Folder, Image, image_of
from tests.support.deployment.network import Network
from tests.support.faults.service_processes import wait_until
from tests.support.service import Answer

_SECRETS = "/run/secrets"
_PREPARING = "/docker-entrypoint-initdb.d/99-health.sh"
# In seconds. Every process of a deployment starts from nothing.
_PATIENCE = 180.0
_SECONDS = re.compile(r"(\d+)s")


class Deployment:
    """The services of a file, their volumes and their network.

    Relative paths of the file begin at its directory. What containers write is below ``directory``.
    ``close`` it at the end.
    """

    def __init__(self, file: Path, directory: Path) -> None:
        self._file = file
        self._directory = directory
        content: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
        self.services: dict[str, Any] = content["services"]
        self._secrets: dict[str, Any] = content["secrets"]
        self.network = Network(directory)
        self.addresses = {name: self.network.new_address() for name in self.services}
        self.running: dict[str, Container] = {}
        self._containers: list[Container] = []
        self._numbers = count(1)
        self._published = False

    def compose(self, line: str) -> str:
        """Do what a line that begins with `docker compose` does; returns what it prints.

        Raises AssertionError with that if it fails.
        """
        words = shlex.split(line)
        assert words[:2] == ["docker", "compose"], line
        match words[2:]:
            case ["run", "--rm", name, *command]:
                return self._run(name, command)
            case ["exec", name, *command]:
                return self.execute(name, *command)
            case ["up", "--detach", "--wait"]:
                for name in self.services:
                    self._start(name)
                for name in self.services:
                    self._await(name)
            case ["up", "--detach", "--no-deps", "--wait", name]:
                self._replace(name)
            case ["stop"]:
                for name in reversed(self._in_order()):
                    self._stop(name)
            case _:
                raise AssertionError(f"not a command that the tests know: {line}")
        return ""

    def execute(self, name: str, *command: str) -> str:
        """Run a command in the container of a service; returns what it prints."""
        done = self.running[name].execute(*command)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}{self.log(name)}"
        return done.stdout

    def log(self, name: str) -> str:
        """What a service has printed since its last start."""
        return self.running[name].log

    def ask(self, name: str, method: str, path: str, **more: Any) -> Answer:
        """Send a request to the port of a box, from the machine."""
        return self.network.request((self.addresses[name], 8080), method, path, **more)

    def ask_published(self, method: str, path: str, **more: Any) -> Answer:
        """Send a request to the published port."""
        return self.network.request(self._outside("nginx"), method, path, **more)

    def close(self) -> None:
        """End every container, and remove the network."""
        for container in self._containers:
            container.kill()
        self.network.close()

    # ---- services

    def _run(self, name: str, command: list[str]) -> str:
        """`docker compose run --rm`: another container of a service, after what it depends on."""
        self._start_needed(name)
        container = self._begin(f"run-{name}", self.network.new_address(), name, command)
        status = container.wait(120)
        assert status == 0, f"{name} {shlex.join(command)}: {container.log}"
        return container.log

    def _start(self, name: str) -> None:
        if name in self.running and self.running[name].is_running:
            return
        self._start_needed(name)
        self.running[name] = self._begin(name, self.addresses[name], name, None)
        for port in self.services[name].get("ports", []):
            inside = int(port.split(":")[-1])
            if not self._published:
                self.network.publish(self._outside(name), (self.addresses[name], inside))
                self._published = True

    def _start_needed(self, name: str) -> None:
        needed = self.services[name].get("depends_on", [])
        for other in needed:
            self._start(other)
            if isinstance(needed, dict) and needed[other]["condition"] == "service_healthy":
                self._await(other)

    def _await(self, name: str) -> None:
        """Wait until a service is healthy, or runs if it has no health check."""
        wait_until(lambda: self.is_healthy(name), name, pause=0.2, patience=_PATIENCE)

    def _replace(self, name: str) -> None:
        """Stop a service, and start it in another container, as after a change of its image.

        It gets another address, as it may in Docker, whose name service then knows that one.
        """
        self._stop(name)
        former, self.addresses[name] = self.addresses[name], self.network.new_address()
        self.running[name] = self._begin(name, self.addresses[name], name, None)
        # The files of the others are read-only.
        if self._published:
            entry = f"s/^{re.escape(former)}\\t/{self.addresses[name]}\\t/"
            self.execute("nginx", "sed", "--in-place", entry, "/etc/hosts")
        self._await(name)

    def _stop(self, name: str) -> None:
        """Stop a service; it fails if it has to be killed when its time is over."""
        given = _SECONDS.fullmatch(self.services[name].get("stop_grace_period", "10s"))
        assert given is not None
        if name in self.running:
            self.running[name].stop(int(given[1]))

    def is_healthy(self, name: str) -> bool:
        """Whether a service runs, and its health check succeeds if it or its image has one."""
        assert self.running[name].is_running, self.log(name)
        check = self._health(name)
        return not check or self.running[name].execute(*check).returncode == 0

    def _health(self, name: str) -> list[str]:
        if "healthcheck" not in self.services[name]:
            return image_of(self.services[name]["image"]).health
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return list(command)

    def _in_order(self) -> list[str]:
        """The services, each after those that it depends on."""
        found: list[str] = []

        def add(name: str) -> None:
            for other in self.services[name].get("depends_on", []):
                add(other)
            if name not in found:
                found.append(name)

        for name in self.services:
            add(name)
        return found

    def _outside(self, name: str) -> tuple[str, int]:
        (port,) = self.services[name]["ports"]
        host, outside, _ = port.split(":")
        return host, int(outside)

    # ---- containers

    def _begin(
        self, hostname: str, address: str, name: str, command: list[str] | None
    ) -> Container:
        service, image = self.services[name], image_of(self.services[name]["image"])
        directory = self._directory / f"container-{next(self._numbers)}"
        directory.mkdir()
        plan = Plan(
            name=hostname,
            address=address,
            image=image,
            environment=dict(service.get("environment", {})),
            mounts=[*self._volumes(service, image, directory), *self._secret_files(service)],
            hosts={other: at for other, at in self.addresses.items() if other != hostname},
            memory=service.get("tmpfs", []),
            files=self._preparation(name) if "healthcheck" in service else {},
            is_read_only=service.get("read_only", False),
            has_capabilities=service.get("cap_drop") != ["ALL"],
            gains_no_privileges="no-new-privileges:true" in service.get("security_opt", []),
        )
        given = service.get("command", image.command) if command is None else command
        program = [*image.program, *given]
        container = Container(plan, self.network, directory, program)
        self._containers.append(container)
        return container

    def _preparation(self, name: str) -> dict[str, str]:
        """A script that fails if a database is healthy while only its entry point may use it."""
        return {_PREPARING: f"#!/bin/sh\n! {shlex.join(self._health(name))}\n"}

    def _volumes(self, service: dict[str, Any], image: Image, directory: Path) -> list[Mount]:
        mounts = []
        for volume in service.get("volumes", []):
            source, target, *options = volume.split(":")
            place = self._directory / f"volume-{source}"
            if source.startswith("."):
                place = self._file.parent / source
            elif not place.exists():
                _create(place, image.folders[target])
            mounts.append(Mount(place, target, options == ["ro"]))
        for target in set(image.volumes) - {mount.target for mount in mounts}:
            place = directory / f"volume{target.replace('/', '-')}"
            _create(place, image.folders[target])
            mounts.append(Mount(place, target))
        return mounts

    def _secret_files(self, service: dict[str, Any]) -> list[Mount]:
        return [
            Mount(
                self._file.parent / self._secrets[name]["file"],
                f"{_SECRETS}/{name}",
                is_read_only=True,
            )
            for name in service.get("secrets", [])
        ]


def _create(volume: Path, folder: Folder) -> None:
    """A new volume has the owner and the mode of the directory in the image."""
    volume.mkdir()
    os.chown(volume, folder.owner, folder.owner)
    volume.chmod(int(folder.mode, 8))

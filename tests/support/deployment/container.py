"""One container, made of namespaces: its files, its user, its capabilities, its processes."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.deployment.images import Folder, Image
from tests.support.deployment.network import Network
from tests.support.faults.service_processes import children

# The capabilities of root in a container without `cap_drop`.
_CAPABILITIES = (
    *("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"),
    *("net_bind_service", "net_raw", "sys_chroot", "mknod", "audit_write", "setfcap"),
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1"}
_LINKS["stderr"] = "/proc/self/fd/2"


@dataclass(frozen=True)
class Mount:
    """A directory or a file of this machine, at a place in a container."""

    source: Path
    target: str
    is_read_only: bool = False


@dataclass(frozen=True)
class Plan:
    """What a container is made of: its image, and what its service adds."""

    name: str
    address: str
    image: Image
    environment: dict[str, str]
    mounts: list[Mount]
    hosts: dict[str, str]
    """The addresses of names."""
    memory: list[str] = field(default_factory=list)
    """The places of directories in memory."""
    files: dict[str, str] = field(default_factory=dict)
    is_read_only: bool = False
    has_capabilities: bool = True
    gains_no_privileges: bool = False


class Container:
    """The running processes of a container; the first one has the process id 1 within.

    ``directory`` is new. What the processes print is in ``log``. They end when this process does.
    When it is made, its namespaces are complete. Raises AssertionError if they cannot be made.
    """

    def __init__(self, plan: Plan, network: Network, directory: Path, program: list[str]) -> None:
        self.plan = plan
        self.log_path = directory / "log"
        script = directory / "begin.sh"
        begin = ["set -e", *_beginning(plan, network, directory), "echo >&0", "exec </dev/null"]
        script.write_text("\n".join([*begin, _inside(plan, program), ""]))
        complete, begun = os.pipe()
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig=KILL"),
                    *("unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork"),
                    *("sh", str(script)),
                ],
                cwd="/",
                env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
                # The first process writes to it when its namespaces are complete.
                stdin=begun,
                stdout=log,
                stderr=log,
            )
        os.close(begun)
        with open(complete, "rb") as end:
            is_complete = end.readline() != b""
        if not is_complete:
            self._process.wait()
            raise AssertionError(f"{plan.name}: {self.log}")

    @property
    def log(self) -> str:
        """What its processes have printed."""
        return self.log_path.read_text("utf-8", "replace")

    @property
    def is_running(self) -> bool:
        """Whether its first process still runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of its first process. Raises AssertionError if that has ended."""
        found = self._first()
        assert len(found) == 1, f"{self.plan.name} has ended: {self.log}"
        return found[0]

    def wait(self, timeout: float) -> int:
        """Wait until it ends; returns its status. ``timeout`` is in seconds."""
        return self._process.wait(timeout)

    def execute(self, *program: str) -> subprocess.CompletedProcess[str]:
        """Run a program beside the others.

        Raises AssertionError if the first process has ended.
        """
        entering = ["nsenter", f"--target={self.pid}", *_NAMESPACES, "sh", "-c"]
        return subprocess.run(
            [*entering, _inside(self.plan, list(program))],
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def stop(self, timeout: float) -> int:
        """Send the signal of the image to the first process, and wait; returns its status.

        Raises subprocess.TimeoutExpired after ``timeout`` in seconds.
        """
        self._send(signal.Signals[self.plan.image.stop_signal])
        return self.wait(timeout)

    def kill(self) -> None:
        """Kill its first process; the kernel then kills the others."""
        self._send(signal.SIGKILL)
        self._process.wait()

    def _send(self, number: signal.Signals) -> None:
        for pid in self._first():
            # It may end now.
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _first(self) -> list[int]:
        """The first process; none if it has ended."""
        return children(self._process.pid) if self.is_running else []


_NAMESPACES = ("--net", "--mount", "--pid", "--ipc", "--uts", "--")


def _beginning(plan: Plan, network: Network, directory: Path) -> list[str]:
    """The lines of a shell that turn its namespaces into those of a container."""
    root = str(directory / "root")
    lines = [
        *network.joining(plan.address),
        f"hostname {plan.name}",
        f"mkdir {root}",
        f"mount -t tmpfs -o mode=0755 container {root}",
        f"cd {root}",
        "mkdir -p usr etc proc dev run tmp var root",
        "chmod 1777 tmp",
        "ln -s /run var/run",
        "mount --rbind /usr usr",
        "mount -t proc -o nosuid,nodev,noexec proc proc",
        "mount -t tmpfs -o nosuid,mode=0755 devices dev",
        "mkdir dev/shm",
        "mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=64m memory dev/shm",
    ]
    for name in ("bin", "sbin", "lib", "lib64"):
        place = Path("/", name)
        if place.is_symlink():
            lines.append(f"ln -s {place.readlink()} {name}")
        elif place.is_dir():
            lines += _bound(Mount(place, f"/{name}", is_read_only=True))
    for name in _DEVICES:
        lines += [f"touch dev/{name}", f"mount --bind /dev/{name} dev/{name}"]
    lines += [f"ln -s {target} dev/{name}" for name, target in _LINKS.items()]
    for target, source in plan.image.programs.items():
        lines += _bound(Mount(source, target, is_read_only=True))
    for target, folder in plan.image.folders.items():
        lines += _made(f".{target}", folder)
    lines += _written({**_configuration(plan), **plan.image.files, **plan.files}, directory)
    lines += [
        line
        for place in plan.memory
        for line in (
            f"mkdir -p .{place}",
            f"mount -t tmpfs -o nosuid,nodev,noexec,mode=1777 memory .{place}",
        )
    ]
    for mount in sorted(plan.mounts, key=lambda one: one.target.count("/")):
        lines += _bound(mount)
    lines += [
        "mkdir .machine",
        "pivot_root . .machine",
        "cd /",
        "umount -l /.machine",
        "rmdir /.machine",
        # The programs of this machine.
        "mount -o remount,bind,ro /usr",
    ]
    return [*lines, "mount -o remount,bind,ro /"] if plan.is_read_only else lines


def _bound(mount: Mount) -> list[str]:
    source, target = shlex.quote(str(mount.source)), shlex.quote(f".{mount.target}")
    lines = (
        [f"mkdir -p {target}"]
        if mount.source.is_dir()
        else [f"mkdir -p {shlex.quote(os.path.dirname(f'.{mount.target}'))}", f"touch {target}"]
    )
    lines.append(f"mount --bind {source} {target}")
    return [*lines, f"mount -o remount,bind,ro {target}"] if mount.is_read_only else lines


def _made(target: str, folder: Folder) -> list[str]:
    owner = f"--owner={folder.owner} --group={folder.owner}"
    return [f"install --directory {owner} --mode={folder.mode} {shlex.quote(target)}"]


def _configuration(plan: Plan) -> dict[str, str]:
    """The files that name users and machines."""
    users = {"root": (0, "/root"), **plan.image.users}
    hosts = {"localhost": "127.0.0.1", **plan.hosts, plan.name: plan.address}
    return {
        "/etc/passwd": "".join(
            f"{name}:x:{number}:{number}::{home}:/usr/sbin/nologin\n"
            for name, (number, home) in users.items()
        ),
        "/etc/group": "".join(f"{name}:x:{number}:\n" for name, (number, _) in users.items()),
        "/etc/hosts": "".join(f"{address}\t{name}\n" for name, address in hosts.items()),
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }


def _written(files: Mapping[str, str], directory: Path) -> list[str]:
    """Lines that copy texts to their places, where /usr is the one of this machine."""
    lines = []
    for number, (target, text) in enumerate(files.items()):
        source = directory / f"file-{number}"
        source.write_text(text)
        source.chmod(0o755)
        if target.startswith("/usr/"):
            raise ValueError(f"{target} is a place of this machine")
        lines += [
            f"mkdir -p {shlex.quote(os.path.dirname(f'.{target}'))}",
            f"cp {source} .{target}",
        ]
    return lines


def _inside(plan: Plan, program: list[str]) -> str:
    """The line of a shell that runs a program as the user of the container."""
    image = plan.image
    homes = {0: "/root"} | dict(image.users.values())
    given = {
        "HOSTNAME": plan.name,
        "HOME": homes[image.user],
        **image.environment,
        **plan.environment,
    }
    kept = [f"+{name}" for name in _CAPABILITIES] if plan.has_capabilities else []
    limits = [f"--bounding-set={','.join(['-all', *kept])}", "--inh-caps=-all", "--pdeathsig=KILL"]
    if image.user != 0:
        ids = f"--reuid={image.user} --regid={image.user} --clear-groups"
        limits += ids.split()
    if plan.gains_no_privileges:
        limits.append("--no-new-privs")
    words = ["env", "-i", *(f"{name}={value}" for name, value in given.items())]
    return f"cd {image.directory} && exec {shlex.join([*words, 'setpriv', *limits, *program])}"

"""Stand-ins for the programs of a whole machine, as pages about one use them as root.

``systemctl`` runs a unit's own command with the environment, the directory and the readiness
protocol that the unit describes. ``nginx`` is the real one, with the sites below the page's root.
Users and owners stay those of the test.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

_NOTHING = "#!/bin/sh\nexit 0\n"

_INSTALL = """\
#!/bin/bash
given=()
while [ "$#" -gt 0 ]; do
    case "$1" in
        --owner=*|--group=*) ;;
        -o|-g|--owner|--group) shift ;;
        *) given+=("$1") ;;
    esac
    shift
done
exec /usr/bin/install "${given[@]}"
"""

_NGINX = """\
#!/bin/bash
mkdir -p {root}/run {root}/etc/nginx/conf.d {root}/var/nginx
sed -i '/listen \\[::\\]/d' {root}/etc/nginx/conf.d/*.conf
exec {nginx} -c {config} "$@"
"""

_NGINX_CONF = """\
{user} pid {root}/run/nginx.pid; error_log stderr; events {{}}
http {{
access_log off;
client_body_temp_path {root}/var/nginx/body;
proxy_temp_path {root}/var/nginx/proxy;
fastcgi_temp_path {root}/var/nginx/fastcgi;
uwsgi_temp_path {root}/var/nginx/uwsgi;
scgi_temp_path {root}/var/nginx/scgi;
include {root}/etc/nginx/conf.d/*.conf;
}}
"""

_SYSTEMCTL = """\
#!{python} -I
import os, re, signal, socket, subprocess, sys, time
from pathlib import Path
root = Path({root!r})

def pid_file(name):
    return root / "run" / (name + ".pid")

def began(pid):
    return Path(f"/proc/{{pid}}/stat").read_text().rpartition(")")[2].split()[19]

def is_active(name):
    # With its start, because the number of a process that has ended is used again.
    try:
        pid, *start = pid_file(name).read_text().split()
        return start in ([], [began(pid)])
    except (OSError, ValueError):
        return False

def unit(name):
    texts = [(root / "etc/systemd/system" / (name + ".service")).read_text()]
    for more in sorted((root / "etc/systemd/system" / (name + ".service.d")).glob("*.conf")):
        texts.append(more.read_text())
    return re.findall(r"(?m)^([A-Z][A-Za-z]+)=(.*)$", "\\n".join(texts))

def start(name):
    if is_active(name):
        return
    if name == "nginx":
        subprocess.run(["nginx"], check=True, stderr=open(root / "run/nginx.log", "w"))
        return
    told = unit(name)
    environment = {{"PATH": os.environ["PATH"], "LATCHKEY_WORKERS": "1"}}
    for key, value in told:
        if key == "EnvironmentFile":
            lines = Path(value.lstrip("-")).read_text().splitlines()
            environment.update(line.split("=", 1) for line in lines if re.match(r"\\w+=", line))
    credentials = root / "run" / (name + "-credentials")
    loaded = [value.split(":", 1) for key, value in told if key == "LoadCredential"]
    for each, path in loaded:
        credentials.mkdir(mode=0o700, exist_ok=True)
        copy = credentials / each
        copy.unlink(missing_ok=True)
        copy.write_bytes(Path(path).read_bytes())
        copy.chmod(0o400)
    if loaded:
        environment["CREDENTIALS_DIRECTORY"] = str(credentials)
    for key, value in told:
        if key == "Environment":
            value = value.replace("%d", str(credentials)).strip('"')
            environment.update([value.split("=", 1)])
        if key == "RuntimeDirectory":
            (root / "run" / value).mkdir(parents=True, exist_ok=True)
    settings = dict(told)
    told_ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = root / "run" / (name + "-notify")
    address.unlink(missing_ok=True)
    told_ready.bind(str(address))
    told_ready.settimeout(60)
    environment["NOTIFY_SOCKET"] = str(address)
    log = open(root / "run" / (name + ".log"), "a")
    command = settings["ExecStart"].replace("${{CREDENTIALS_DIRECTORY}}", str(credentials))
    process = subprocess.Popen(
        command.split(), cwd=settings.get("WorkingDirectory", "/"), env=environment,
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    pid_file(name).write_text(f"{{process.pid}} {{began(process.pid)}}")
    while process.poll() is None:
        told_ready.settimeout(1)
        try:
            if b"READY=1" in told_ready.recv(4096):
                return
        except TimeoutError:
            pass
    sys.exit("the unit " + name + " failed: " + (root / "run" / (name + ".log")).read_text())

def stop(name):
    if is_active(name):
        os.kill(int(pid_file(name).read_text().split()[0]), signal.SIGTERM)
        while is_active(name):
            time.sleep(0.05)
    pid_file(name).unlink(missing_ok=True)

words = [word for word in sys.argv[1:] if not word.startswith("-")]
names = [name.removesuffix(".service") for name in words[1:]]
for name in names:
    if words[0] == "is-active":
        print("active" if is_active(name) else "inactive")
        sys.exit(0 if is_active(name) else 3)
    if words[0] in ("stop", "restart"):
        stop(name)
    if words[0] in ("start", "restart") or (words[0] == "enable" and "--now" in sys.argv):
        start(name)
    if words[0] == "reload" and name == "nginx":
        if is_active(name):
            subprocess.run(["nginx", "-s", "reload"], check=True)
        start(name)
    elif words[0] == "reload":
        os.kill(int(pid_file(name).read_text().split()[0]), signal.SIGHUP)
"""


def write_programs(directory: Path, root: Path) -> None:
    """Write the programs into a directory of the PATH; ``root`` is where absolute paths lie."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    config = root / "nginx.conf"
    # Its workers must be able to read files that only this user can read.
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_NGINX_CONF.format(root=root, user=user))
    programs = {
        "systemctl": _SYSTEMCTL.format(python=sys.executable, root=str(root)),
        "nginx": _NGINX.format(root=root, nginx=nginx, config=config),
        "install": _INSTALL,
        **dict.fromkeys(("useradd", "usermod", "chown", "chgrp"), _NOTHING),
    }
    for name, text in programs.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)


def stop_units(root: Path) -> None:
    """Stop what ``systemctl`` has started."""
    for file in (root / "run").glob("*.pid"):
        with suppress(OSError, ValueError):
            pid, *start = file.read_text().split()
            # The number of a process that has ended is used again.
            if start in ([], [_began(pid)]):
                os.kill(int(pid), signal.SIGTERM)


def _began(pid: str) -> str:
    """When a process started, in ticks of the kernel."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[19]

"""Starts gunicorn and nginx, and measures every subject in turn."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bootstrap import Bootstrap
from benchmarks.load.credentials import read_derivation_key, secret_of
from benchmarks.load.processes import Cores, running_on
from benchmarks.load.service import Service, running
from benchmarks.parts import Report
from benchmarks.verify import nginx
from benchmarks.verify.client import Client
from benchmarks.verify.plan import (
    ALONE,
    BARE,
    BARE_PATH,
    EMPTY,
    ENVOY,
    GUNICORN,
    HOST,
    LATCHKEY,
    NGINX,
    ROUTES,
    RULED,
    SAME_HEADERS,
    TARGET,
    VERIFY,
    VERIFY_PATH,
    VerifySettings,
)
from benchmarks.verify.results import Subject, VerifyResults

Figures = dict[str, list[float]]

_SEED = 25


def run(settings: VerifySettings, report: Report) -> VerifyResults:
    """Measure all subjects; raises NginxMissing, ServiceFailed or ClientFailed."""
    rng = random.Random(_SEED)
    rates: list[Figures] = []
    halves: list[Figures] = []
    tails: list[Figures] = []
    for start in range(settings.starts):
        report(start, settings.starts, f"start {start + 1}")
        measured = _start(settings, rng)
        for found, figures in zip((rates, halves, tails), measured, strict=True):
            found.append(figures)
    report(settings.starts, settings.starts, "intervals")
    by_rate, by_half, by_tail = (Bootstrap(found) for found in (rates, halves, tails))
    return VerifyResults(
        nginx=_version(),
        users=settings.users,
        requests=settings.requests,
        rates=rates,
        p50=halves,
        p99=tails,
        subjects={
            name: Subject(
                rate=by_rate.estimate(lambda one, name=name: one[name], name),  # type: ignore[misc]
                p50=by_half.estimate(lambda one, name=name: one[name], name),  # type: ignore[misc]
                p99=by_tail.estimate(lambda one, name=name: one[name], name),  # type: ignore[misc]
            )
            for name in (*GUNICORN, *NGINX)
        },
        over_bare=by_rate.estimate(lambda one: one[VERIFY] / one[BARE], VERIFY, BARE),
        envoy_over_bare=by_rate.estimate(lambda one: one[ENVOY] / one[BARE], ENVOY, BARE),
        ruled_over_bare=by_rate.estimate(lambda one: one[RULED] / one[BARE], RULED, BARE),
        over_empty=by_rate.estimate(lambda one: one[LATCHKEY] / one[EMPTY], LATCHKEY, EMPTY),
        headers_over_empty=by_rate.estimate(
            lambda one: one[SAME_HEADERS] / one[EMPTY], SAME_HEADERS, EMPTY
        ),
        tail_over_empty=by_tail.estimate(lambda one: one[LATCHKEY] / one[EMPTY], LATCHKEY, EMPTY),
        over_alone=by_rate.estimate(lambda one: one[LATCHKEY] / one[ALONE], LATCHKEY, ALONE),
    )


def quantile(latencies: list[float], share: float) -> float:
    """The latency that this share of requests does not exceed."""
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _start(settings: VerifySettings, rng: random.Random) -> tuple[Figures, Figures, Figures]:
    cores = Cores.apart()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latchkey-nginx-")))
        rules = directory / "routes.toml"
        rules.write_text(ROUTES)
        numbers = range(settings.keys)
        service, ruled = (
            stack.enter_context(
                running(numbers, application="verify", cores=cores, settings=configured)
            )
            for configured in ({}, {"verify_routes": rules})
        )
        ports = {
            **dict.fromkeys(GUNICORN, _port_of(service)),
            RULED: _port_of(ruled),
            **stack.enter_context(nginx.running(directory, _port_of(service), cores)),
        }
        clients: dict[str, Client] = {}
        for name in (*GUNICORN, *NGINX):
            maker = read_derivation_key(
                (ruled if name == RULED else service).settings.derivation_keys_file
            )
            requests = _requests(name, [secret_of(number, maker) for number in numbers])
            clients[name] = Client(ports[name], requests, settings.users)
            stack.callback(clients[name].close)
        with running_on(cores.client):
            return _measure(clients, settings, rng)


def _port_of(service: Service) -> int:
    return int(service.address.rpartition(":")[2])


def _measure(
    clients: Mapping[str, Client], settings: VerifySettings, rng: random.Random
) -> tuple[Figures, Figures, Figures]:
    rates: Figures = {name: [] for name in clients}
    halves: Figures = {name: [] for name in clients}
    tails: Figures = {name: [] for name in clients}
    for client in clients.values():
        # Every key reaches the cache.
        client.run(max(settings.requests // 4, 2 * settings.keys))
    for _ in range(settings.rounds):
        for name in rng.sample(list(clients), len(clients)):
            seconds, latencies = clients[name].run(settings.requests)
            rates[name].append(len(latencies) / seconds)
            halves[name].append(quantile(latencies, 0.5))
            tails[name].append(quantile(latencies, 0.99))
    return rates, halves, tails


def _requests(name: str, secrets: list[str]) -> list[bytes]:
    """The requests of a subject. Those to gunicorn are the questions of a proxy."""
    path = {
        BARE: BARE_PATH,
        VERIFY: VERIFY_PATH,
        RULED: VERIFY_PATH,
        ENVOY: f"{ENVOY}{TARGET}",
    }.get(name, TARGET)
    host, about = HOST, ""
    if name in GUNICORN:
        about = "X-Forwarded-For: 127.0.0.1\r\n"
    if name in GUNICORN and name != ENVOY:
        host = "latchkey"
        about += (
            f"X-Original-Method: GET\r\nX-Original-URI: {TARGET}\r\nX-Original-Host: {HOST}\r\n"
        )
    return [
        (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{about}"
            f"User-Agent: benchmark\r\nAccept: */*\r\nAuthorization: Bearer {secret}\r\n\r\n"
        ).encode()
        for secret in secrets
    ]


def _version() -> str:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin") or "nginx"
    told = subprocess.run([program, "-v"], capture_output=True, text=True, check=True)
    found = re.search(r"nginx/(\S+)", told.stdout + told.stderr)
    return found[1] if found else "?"

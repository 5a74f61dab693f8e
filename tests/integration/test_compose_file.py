"""deploy/compose.yaml, started as the guide says, in namespaces in place of a container engine.

tests/support/deployment describes what takes the place of the images.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.support.boxes.places import can_separate
from tests.support.deployment.compose import Deployment
from tests.support.documents.blocks import ROOT, TEXTS, blocks
from tests.support.faults.service_processes import children, wait_until
from tests.support.service import Answer, Pair

GUIDE = "docs/how-to/several-boxes.md"
BOXES = ("box1", "box2")
UP = "docker compose up --detach --wait"


def followed(tag: str, first: str) -> list[str]:
    """The lines of the guide's block with this tag and a line that begins with ``first``."""
    found = [
        one.text.splitlines()
        for one in blocks(GUIDE, TEXTS[GUIDE])
        if one.tag == tag and re.search(rf"(?m)^{first}", one.text)
    ]
    (lines,) = found
    return lines


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What the lines of the guide have printed."""
    return {}


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, printed: dict[str, str]
) -> Iterator[Deployment]:
    """The services of the file, after the steps of the guide."""
    if not can_separate():
        pytest.skip("needs namespaces, which only root may create")
    directory = tmp_path_factory.mktemp("deployment")
    deploy = directory / "deploy"
    shutil.copytree(ROOT / "deploy", deploy)
    secrets = "\n".join(followed("run", "openssl rand"))
    subprocess.run(["bash", "-e", "-c", secrets], cwd=deploy, check=True)
    try:
        deployed = Deployment(deploy / "compose.yaml", directory)
    except OSError as error:
        pytest.skip(f"needs namespaces with a network: {error}")
    try:
        for line in followed("check", "docker compose run"):
            printed[line] = deployed.compose(line)
        yield deployed
    finally:
        deployed.close()


@pytest.fixture(scope="module")
def issuer(deployment: Deployment, printed: dict[str, str]) -> Pair:
    """The live key that `latchkey init` has created."""
    (text,) = [text for line, text in printed.items() if line.endswith(" init")]
    found = re.search(r"sk_(live_[0-9A-Za-z]{22})[0-9A-Za-z]{49}", text)
    assert found is not None, text
    return Pair(f"ak_{found[1]}", found[0])


def listed(deployment: Deployment) -> list[tuple[str, str]]:
    """The names and the states of the boxes, by the first of them."""
    found = json.loads(deployment.execute("box1", "latchkey", "boxes", "--json"))["boxes"]
    return sorted((one["name"], one["status"]) for one in found)


def issued(deployment: Deployment, box: str, issuer: Pair) -> Pair:
    """A new key, created at a box."""
    made = send(partial(deployment.ask, box), "POST", "/v1/api_keys", issuer, {"name": "test"})
    assert made.status == 201, made
    return Pair(made.json["api_key"], made.json["api_secret"])


def send(ask: Any, method: str, path: str, pair: Pair, body: object = None) -> Answer:
    headers = {**pair.bearer, "Content-Type": "application/json"}
    sent = None if body is None else json.dumps(body).encode()
    answer = ask(method, path, headers=headers if sent else pair.bearer, body=sent)
    assert isinstance(answer, Answer)
    return answer


def statuses(deployment: Deployment, pair: Pair, boxes: tuple[str, ...] = BOXES) -> list[int]:
    """The status of the answer of each box to a request with a key."""
    return [deployment.ask(box, "GET", "/v1/account", headers=pair.bearer).status for box in boxes]


def test_the_guide_leads_to_two_boxes(deployment: Deployment, printed: dict[str, str]) -> None:
    shown = printed["docker compose exec box1 latchkey boxes"].splitlines()
    rows = [line.split("\t")[:2] for line in shown]
    assert rows[:3] == [["name", "state"], *([box, "live"] for box in BOXES)]
    # Of workers that registered their box at the same time, one wins.
    assert {state for _, state in rows[3:]} <= {"stopped"}
    for box in BOXES:
        deployment.execute(box, "latchkey", "audit", "verify")


def test_a_box_has_the_rights_that_the_file_gives_it(deployment: Deployment) -> None:
    for box in BOXES:
        status = dict(
            line.split(":\t", 1)
            for line in deployment.execute(box, "cat", "/proc/1/status").splitlines()
        )
        assert status["Uid"].split() == ["10001"] * 4
        assert status["Gid"].split() == ["10001"] * 4
        assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert status["NoNewPrivs"] == "1"
        secrets = deployment.execute(box, "stat", "-c", "%u %a %n", "-L", "/run/secrets/audit.key")
        assert secrets == "10001 400 /run/secrets/audit.key\n"
        for path in ("/var/lib/latchkey/x", "/opt/latchkey/x", "/run/secrets/x", "/x", "/etc/x"):
            assert deployment.running[box].execute("touch", path).returncode != 0, path
        for path in ("/tmp/x", "/dev/shm/x", "/var/lib/latchkey/secrets/x"):
            deployment.execute(box, "touch", path)
            deployment.execute(box, "rm", path)


def test_a_change_is_effective_on_both_boxes(deployment: Deployment, issuer: Pair) -> None:
    pair = issued(deployment, "box1", issuer)
    assert statuses(deployment, pair) == [200, 200]
    for _ in BOXES:
        assert send(deployment.ask_published, "GET", "/v1/account", pair).status == 200
    path = f"/v1/api_keys/{pair.api_key}"
    assert send(deployment.ask_published, "DELETE", path, issuer).status == 200
    assert statuses(deployment, pair) == [401, 401]


def test_nginx_passes_on_the_console_and_no_metrics(
    deployment: Deployment, printed: dict[str, str]
) -> None:
    """The link that `latchkey init` prints leads to the form for the first administrator."""
    (text,) = [text for line, text in printed.items() if line.endswith(" init")]
    link = re.search(r"http://127\.0\.0\.1:8080(/console/\S+)", text)
    assert link is not None, text
    assert deployment.ask_published("GET", link[1]).status == 200
    assert deployment.ask_published("GET", "/metrics").status == 403
    assert deployment.ask("box1", "GET", "/metrics").status == 200


def test_a_killed_box_delays_one_change(deployment: Deployment, issuer: Pair) -> None:
    pair, other = (issued(deployment, "box2", issuer) for _ in BOXES)
    deployment.running["box2"].kill()
    assert listed(deployment)[0] == ("box1", "live")
    for one in (pair, other):
        path = f"/v1/api_keys/{one.api_key}"
        assert send(deployment.ask_published, "DELETE", path, issuer).status == 200
        assert statuses(deployment, one, ("box1",)) == [401]
        assert send(deployment.ask_published, "GET", "/v1/account", one).status == 401
    assert ("box2", "live") not in listed(deployment)
    deployment.compose(UP)
    wait_until(lambda: ("box2", "live") in listed(deployment), "the box to register")
    assert statuses(deployment, pair) == [401, 401]


def test_everything_is_there_after_a_stop(deployment: Deployment, issuer: Pair) -> None:
    pair, revoked = (issued(deployment, "box1", issuer) for _ in BOXES)
    path = f"/v1/api_keys/{revoked.api_key}"
    assert send(deployment.ask_published, "DELETE", path, issuer).status == 200
    deployment.compose("docker compose stop")
    deployment.compose(UP)
    assert statuses(deployment, pair) == [200, 200]
    assert statuses(deployment, revoked) == [401, 401]
    assert send(deployment.ask_published, "GET", "/v1/account", pair).status == 200
    for box in BOXES:
        deployment.execute(box, "latchkey", "audit", "verify")


def test_boxes_are_replaced_one_after_the_other_under_load(
    deployment: Deployment, issuer: Pair
) -> None:
    """Reads never fail, nothing is created twice, and no change is effective too late."""
    lines = followed("check", "docker compose up --detach --no-deps")
    kept = issued(deployment, "box1", issuer)
    read: list[int] = []
    created: dict[str, int] = {}
    revoked: list[tuple[int, int]] = []
    over = threading.Event()
    nginx = deployment.running["nginx"].pid
    former: set[int] = set()
    ask = partial(send, deployment.ask_published)

    def read_on() -> None:
        while not over.is_set():
            read.append(ask("GET", "/v1/account", kept).status)

    def change_on() -> None:
        while not over.is_set():
            name = f"created {len(created)}"
            made = ask("POST", "/v1/api_keys", issuer, {"name": name})
            created[name] = made.status
            if made.status == 201 and len(created) % 2:
                pair = Pair(made.json["api_key"], made.json["api_secret"])
                done = ask("DELETE", f"/v1/api_keys/{pair.api_key}", issuer).status
                revoked.append((done, ask("GET", "/v1/account", pair).status))

    with ThreadPoolExecutor(3) as threads:
        working = [threads.submit(one) for one in (read_on, read_on, change_on)]
        try:
            for line in lines:
                if line.startswith("sleep "):
                    # The guide waits for a time that is enough on most machines.
                    wait_until(partial(are_gone, former, nginx), "the end of the former workers")
                else:
                    former = set(children(nginx))
                    deployment.compose(line)
                wanted = len(read) + 5, len(revoked) + 2
                wait_until(partial(are_more, read, revoked, wanted, working), "more answers")
        finally:
            over.set()
        for one in working:
            one.result()
    assert set(read) == {200}
    # If a connection breaks, nginx repeats no POST, and the repeated DELETE finds no key.
    assert set(created.values()) <= {201, 502}
    assert set(revoked) <= {(200, 401), (404, 401)}
    names = Counter(all_names(deployment, issuer))
    assert all(names[name] <= 1 for name in created)
    assert [state for _, state in listed(deployment)].count("live") == 2


def are_gone(former: set[int], nginx: int) -> bool:
    """Whether the workers that nginx had before it loaded its configuration again have ended."""
    return not former & set(children(nginx))


def are_more(
    read: list[Any], revoked: list[Any], than: tuple[int, int], working: list[Future[None]]
) -> bool:
    """Whether there were more answers; raises what has ended the work."""
    for one in working:
        if one.done():
            one.result()
    return len(read) > than[0] and len(revoked) > than[1]


def all_names(deployment: Deployment, issuer: Pair) -> list[str]:
    """The names of all keys."""
    found: list[str] = []
    path = "/v1/api_keys?limit=100"
    while True:
        page = send(partial(deployment.ask, "box1"), "GET", path, issuer).json
        found += [one["name"] for one in page["credentials"]]
        if not page.get("next_cursor"):
            return found
        path = f"/v1/api_keys?limit=100&cursor={page['next_cursor']}"

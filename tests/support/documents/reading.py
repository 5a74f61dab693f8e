"""Follows the blocks of a page in their order, as a test."""

from __future__ import annotations

import pytest

from tests.support.documents.blocks import ROOT, Block
from tests.support.documents.checkers import Rejected, missing
from tests.support.documents.pages import Page
from tests.support.documents.shell import Failed

WITH_PROXIES = tuple(
    f"docs/how-to/verify/{proxy}.md" for proxy in ("caddy", "envoy", "haproxy", "traefik")
)
"""The pages that start a reverse proxy, which only the tests in tests/integration do."""


def follow_page(page: str, blocks: list[Block]) -> None:
    """Run, serve, compare and check the blocks of a page; skips if a program is missing."""
    begun = (ROOT / page).parent if page.startswith("examples/") else None
    followed = [block for block in blocks if block.tag in ("run", "serve", "output", "check")]
    for block in followed:
        if program := missing(block):
            pytest.skip(f"needs {program}")
    with Page(begun) as reader:
        for number, block in enumerate(followed):
            rest = "\n".join(later.text for later in followed[number + 1 :])
            try:
                reader.follow(block, rest)
            except (Failed, Rejected) as failure:
                pytest.fail(f"{block}: {failure}", pytrace=False)

"""Follows the blocks of a page in their order, as a test."""

from __future__ import annotations

from functools import lru_cache

import pytest

from tests.support.documents.blocks import ROOT, TEXTS, BadBlock, Block, blocks
from tests.support.documents.checkers import Rejected, missing
from tests.support.documents.contexts import CONTEXTS
from tests.support.documents.pages import Page
from tests.support.documents.shell import Failed

WITH_PROXIES = tuple(
    f"docs/how-to/verify/{proxy}.md" for proxy in ("caddy", "envoy", "haproxy", "traefik")
)
"""The pages that start a reverse proxy, which only the tests in tests/integration do."""


@lru_cache
def parsed(page: str) -> list[Block]:
    """The blocks of a page."""
    return blocks(page, TEXTS[page])


def tagged(page: str, *tags: str) -> bool:
    """Whether a page has a block with one of the tags; a wrong block is for its own test."""
    try:
        return any(block.tag in tags for block in parsed(page))
    except BadBlock:
        return False


def of_contexts(page: str) -> list[Block]:
    """The blocks that run in a context that is listed for their page."""
    return [
        block
        for block in parsed(page)
        if page in CONTEXTS and (block.language, block.tag) == ("python", "run")
    ]


def follow_page(page: str, found: list[Block]) -> None:
    """Run, serve, compare and check the blocks of a page; skips if a program is missing."""
    begun = (ROOT / page).parent if page.startswith("examples/") else None
    followed = [block for block in found if block.tag in ("run", "serve", "output", "check")]
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

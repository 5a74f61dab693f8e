"""The blocks of each page work in their order, for a reader who starts with nothing.

tests/support/documents/blocks.py describes the tags of the blocks.
"""

from __future__ import annotations

import pytest

from tests.support.documents.blocks import TEXTS
from tests.support.documents.reading import (
    WITH_PROXIES,
    follow_page,
    of_contexts,
    parsed,
    tagged,
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "page",
    [page for page in TEXTS if tagged(page, "run", "serve") and page not in WITH_PROXIES],
)
def test_the_blocks_of_a_page_work(page: str) -> None:
    """In one shell and one directory."""
    elsewhere = of_contexts(page)
    follow_page(page, [block for block in parsed(page) if block not in elsewhere])

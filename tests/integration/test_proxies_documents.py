"""The pages about reverse proxies: their blocks run, from nothing to the first 401 and 200."""

from __future__ import annotations

import pytest

from tests.support.documents.blocks import TEXTS, blocks
from tests.support.documents.reading import WITH_PROXIES, follow_page


@pytest.mark.parametrize("page", WITH_PROXIES)
def test_the_blocks_of_a_page_work(page: str) -> None:
    follow_page(page, blocks(page, TEXTS[page]))

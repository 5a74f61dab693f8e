"""The cost of a request, which limits are decided with."""

from __future__ import annotations

import pytest

from latchkey.credentials.endpoints import parse_endpoint
from latchkey_service.verify.deciding import Examiner
from latchkey_service.verify.originals import NGINX
from latchkey_service.verify.rules import ANY_HOST, Rule, Rules


def environ(query: str) -> dict[str, str]:
    return {
        "RAW_URI": f"/verify/nginx?{query}",
        "HTTP_X_ORIGINAL_METHOD": "GET",
        "HTTP_X_ORIGINAL_URI": "/orders?cost=9",
        "HTTP_X_ORIGINAL_HOST": "api.example.com",
    }


@pytest.mark.parametrize(
    ("of_url", "of_rule", "cost"),
    [("", None, 1), ("cost=3", None, 3), ("", 4, 4), ("cost=3", 4, 4), ("cost=5", 4, 5)],
)
def test_the_larger_cost_counts(of_url: str, of_rule: int | None, cost: int) -> None:
    rules = None
    if of_rule is not None:
        rules = Rules([Rule(1, ANY_HOST, (parse_endpoint("* /**"),), cost=of_rule)])
    assert Examiner(NGINX, rules).cost(environ(of_url)) == cost

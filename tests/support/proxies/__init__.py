"""Real reverse proxies with the configurations of deploy/, for tests."""

import pytest

_CASES = ("admission", "expectations", "forgery", "http2_cases", "limiting", "traffic")
for _name in _CASES:
    pytest.register_assert_rewrite(f"tests.support.proxies.{_name}")

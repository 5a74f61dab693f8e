"""Real reverse proxies with the configurations of deploy/, for tests."""

import pytest

for _name in ("admission", "expectations", "forgery", "http2_cases", "traffic"):
    pytest.register_assert_rewrite(f"tests.support.proxies.{_name}")

"""Variables that Kubernetes and Docker inject for a service with our name, and typos."""

from __future__ import annotations

import pytest

from latchkey.config import Settings, load_settings, variable
from latchkey.errors import ConfigurationError
from latchkey.platform_variables import is_injected


def kubernetes(prefix: str, host: str = "10.96.0.7", url_host: str = "10.96.0.7") -> dict[str, str]:
    """The variables of a pod for one Service with two ports."""
    variables = {
        "SERVICE_HOST": host,
        "SERVICE_PORT": "8080",
        "SERVICE_PORT_HTTP": "8080",
        "SERVICE_PORT_MY_SERVICE_PORT": "9090",
        "PORT": f"tcp://{url_host}:8080",
    }
    for port, protocol in ((8080, "tcp"), (9090, "udp")):
        endpoint = f"PORT_{port}_{protocol.upper()}"
        variables |= {
            endpoint: f"{protocol}://{url_host}:{port}",
            f"{endpoint}_PROTO": protocol,
            f"{endpoint}_PORT": str(port),
            f"{endpoint}_ADDR": host,
        }
    return {f"{prefix}_{name}": value for name, value in variables.items()}


DOCKER = {
    "LATCHKEY_NAME": "/web/latchkey",
    "LATCHKEY_PORT": "tcp://172.17.0.5:8080",
    "LATCHKEY_PORT_8080_TCP": "tcp://172.17.0.5:8080",
    "LATCHKEY_PORT_8080_TCP_ADDR": "172.17.0.5",
    "LATCHKEY_PORT_8080_TCP_PORT": "8080",
    "LATCHKEY_PORT_8080_TCP_PROTO": "tcp",
    "LATCHKEY_PORT_8080_TCP_START": "tcp://172.17.0.5:8080",
    "LATCHKEY_PORT_8080_TCP_PORT_END": "8090",
    "LATCHKEY_ENV_PYTHON_VERSION": "3.13",
    "LATCHKEY_ENV_LATCHKEY_WORKERS": "none",
}


@pytest.mark.parametrize(
    "injected",
    [
        kubernetes("LATCHKEY"),
        kubernetes("LATCHKEY_ADMIN"),
        kubernetes("LATCHKEY_SERVICE"),
        kubernetes("LATCHKEY_PORT"),
        kubernetes("LATCHKEY", "fd00::7", "[fd00::7]"),
        {**kubernetes("LATCHKEY"), **kubernetes("LATCHKEY_SERVICE"), **kubernetes("LATCHKEY_2")},
        DOCKER,
    ],
)
def test_injected_variables_are_ignored(injected: dict[str, str]) -> None:
    settings = load_settings({**injected, "LATCHKEY_WORKERS": "2"})
    assert settings.model_fields_set == {"workers"}
    with pytest.raises(ConfigurationError, match=r"unknown setting LATCHKEY_WORKER \(did"):
        load_settings({**injected, "LATCHKEY_WORKER": "2"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LATCHKEY_PORT", "8080"),
        ("LATCHKEY_PORT", "http://10.96.0.7:8080"),
        ("LATCHKEY_PORT", "tcp://latchkey:8080"),
        ("LATCHKEY_SERVICE_PORT", "8080"),
        ("LATCHKEY_SERVICE_HOST", "latchkey.example"),
        ("LATCHKEY_BIND_PORT", "8080"),
        ("LATCHKEY_NAME", "latchkey"),
        ("LATCHKEY_ENV", "production"),
        ("LATCHKEY_ENV_NAME", "production"),
        ("LATCHKEY_PORT_8080_TCP_PROTO", "yes"),
        ("LATCHKEY_PORT_8080_TCP_ADDR", "here"),
        ("LATCHKEY_A\nB", "x"),
    ],
)
def test_similar_variables_are_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^unknown setting LATCHKEY_") as caught:
        load_settings({name: value})
    assert "\n" not in str(caught.value)
    assert value not in str(caught.value).replace(name, "")


def test_no_setting_looks_like_an_injected_variable() -> None:
    everything = {variable(field): "tcp://10.0.0.1:80" for field in Settings.model_fields}
    assert not any(is_injected(name, everything) for name in everything)

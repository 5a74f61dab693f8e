"""Write docs/reference/settings.md from the table of settings in latchkey/config.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "settings.md"

sys.path.insert(0, str(ROOT))

from latchkey.config import Settings, variable  # noqa: E402

_INTRODUCTION = """\
# Configuration

<!-- Made by scripts/write_configuration_page.py from latchkey/config.py; change it there. -->

Every setting is an environment variable that begins with `LATCHKEY_`. There is no configuration
file. An unknown `LATCHKEY_` name or an invalid value stops the start with one line that names the
setting and says what is allowed. The line never repeats the value.

`latchkey config` shows every setting with its value and its source; secrets are masked.
`latchkey serve --bind`, `--workers` and `--threads` take precedence over the environment.

The derivation keys can compute every secret that was made with them: keep them apart from the
database, and out of its backups.

| name | allowed | default | what it does |
|---|---|---|---|
"""


def page() -> str:
    """The page's text."""
    schema = Settings.model_json_schema()["properties"]
    return _INTRODUCTION + "".join(
        _row(variable(field), schema[field], info.description or "")
        for field, info in Settings.model_fields.items()
    )


def _row(name: str, schema: dict[str, Any], text: str) -> str:
    default = schema["default"]
    shown = f"`{default}`" if default != "" else "none"
    return f"| `{name}` | {_allowed(schema)} | {shown} | {text} |\n"


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "integer":
        return f"whole number, {schema['minimum']} to {schema['maximum']}"
    if schema["type"] == "number":
        if "minimum" in schema:
            return f"number, {schema['minimum']} to {schema['maximum']}"
        return f"number above {schema['exclusiveMinimum']}, up to {schema['maximum']}"
    return {"path": "path", "password": "text, a secret"}.get(schema.get("format", ""), "text")


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")

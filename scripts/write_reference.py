"""Write the generated pages of docs/reference/: the settings and the command line."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

sys.path.insert(0, str(ROOT))

from scripts import command_line_page, settings_page  # noqa: E402

PAGES = {
    ROOT / "docs/reference/command-line.md": command_line_page.page,
    ROOT / "docs/reference/settings.md": settings_page.page,
}

if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page(), encoding="utf-8")

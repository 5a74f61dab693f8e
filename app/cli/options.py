"""Options that several commands have."""

from __future__ import annotations

import click

from app.credentials.models import MODES

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
mode_option = click.option(
    "--mode", type=click.Choice(MODES), default="live", show_default=True, help="live or test."
)

"""Usage in the output of commands, for people."""

from __future__ import annotations

from typing import Any

import click

from latchkey_service.cli.options import NEVER
from latchkey_service.cli.printing import print_fields, print_table


def print_usage(of: dict[str, str], usage: dict[str, Any]) -> None:
    """Print the fields ``of`` (the key or the account), the sums, and the requests by day.

    ``usage`` is a usage object of the HTTP API as JSON.
    """
    refused = (f"{reason} {count}" for reason, count in usage["refusals"].items() if count)
    print_fields(
        {
            **of,
            "requests": str(usage["requests"]),
            "last_used_at": usage["last_used_at"] or NEVER,
            "refused": ", ".join(refused) or NEVER,
        }
    )
    if usage["days"]:
        click.echo()
        print_table(
            ["day", "requests"],
            [[day["start"][:10], str(day["requests"])] for day in reversed(usage["days"])],
        )

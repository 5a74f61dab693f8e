"""``latchkey boxes``: the boxes that share a PostgreSQL database."""

from __future__ import annotations

from contextlib import closing

import click

from latchkey.box.box_states import BoxState, states_of
from latchkey.errors import LatchkeyError
from latchkey.store.database_urls import database_of
from latchkey_service.cli.instance import instance_settings
from latchkey_service.cli.options import json_option
from latchkey_service.cli.printing import print_json, print_table


class NoBoxes(LatchkeyError):
    """The database is one that only one box can use."""


@click.command("boxes")
@json_option
def boxes_command(as_json: bool) -> None:
    """Show the boxes that share the database, on PostgreSQL.

    Confirmed is the last change that a box has applied. Behind is the number of later ones, 10,000
    at most; it is empty for a box that is not live. The lease is the time for which the box may
    still use its cache without confirming again.
    """
    database = database_of(instance_settings())
    database.require()
    with closing(database.open_store()) as store:
        if store.boxes is None:
            raise NoBoxes(
                f"only this box uses the database {database.shown}; several boxes share one on "
                "PostgreSQL"
            )
        states = states_of(store.boxes)
    if as_json:
        print_json({"boxes": [state.json_fields for state in states]})
        return
    print_table(
        ["name", "state", "version", "workers", "confirmed", "behind", "seen", "lease", "id"],
        (_cells(state) for state in states),
    )


def _cells(state: BoxState) -> list[str]:
    box = state.box
    return [
        *(box.name, state.status, box.version, str(box.workers), str(box.confirmed)),
        "" if state.behind is None else str(state.behind),
        *(f"{box.unseen_ms / 1000:.1f} s ago", f"{state.lease_left:.1f} s"),
        box.id,
    ]

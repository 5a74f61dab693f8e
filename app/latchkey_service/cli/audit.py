"""``latchkey audit``: show, export, verify and repair the audit log."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from latchkey.box.segment import without_service
from latchkey.config import Settings
from latchkey.credentials.audit import Action, AuditEvent, AuditFilter, AuditRow, Head, RowsDigest
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.times import utc_now
from latchkey.errors import ConfigurationError, LatchkeyError
from latchkey.key_files import load_seal, make_next_audit_key_file
from latchkey.store.audit_head import HeadUnusable, Seal
from latchkey.store.database_urls import database_of
from latchkey.store.protocols import AuditLog
from latchkey.wording import counted
from latchkey_service.cli.asking import confirm
from latchkey_service.cli.instance import instance_settings
from latchkey_service.cli.options import (
    API_KEY,
    MOMENT,
    TEXT,
    json_option,
    length_options,
    rows_shown,
    yes_option,
)
from latchkey_service.cli.printing import print_json, print_json_list, print_rest, print_table
from latchkey_service.cli.streams import output_to
from latchkey_service.command_user import command_line_user

_ERASED = "(erased)"
_ACTIONS = [action.value for action in Action]


@click.group()
def audit() -> None:
    """Show, export, verify and repair the audit log.

    The log records every change of a key or an administrator, with its actor and time.
    """


@audit.command("list")
@click.option("--key", type=API_KEY, metavar="API_KEY", help="Only rows about this key.")
@click.option(
    "--actor", type=TEXT, metavar="NAME", help="Only rows of this actor, by name or kind."
)
@click.option("--action", type=click.Choice(_ACTIONS), help="Only rows of this action.")
@click.option(
    "--since",
    type=MOMENT,
    metavar="TIME",
    help="Only rows since 2030-01-15 (the start of that day in UTC) or 2030-01-15T10:30:00Z.",
)
@length_options
@json_option
def list_entries(
    key: str | None,
    actor: str | None,
    action: str | None,
    since: datetime | None,
    limit: int | None,
    every: bool,
    as_json: bool,
) -> None:
    """List the rows, newest first.

    The latest 50 are listed, or all with --all or --json.
    """
    shown = rows_shown(limit, every, as_json)
    wanted = AuditFilter(key, actor, action, since)
    with _reading() as log:
        entries = log.newest(wanted, shown)
        if as_json:
            print_json_list("entries", (entry.json_fields for entry in entries))
            return
        print_table(
            ["number", "time", "action", "actor", "address", "subject", "detail"],
            map(_cells, entries),
        )
        if shown is not None:
            print_rest(log.count(wanted) - shown, "row")


@audit.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default="-")
def export_entries(file: Path) -> None:
    """Write all rows to FILE as JSON lines, oldest first. The default is standard output (-).

    A line has all fields that the row's MAC covers.
    """
    with _reading() as log, output_to(file) as output:
        for entry in log.entries():
            output.write(json.dumps(entry.json_fields, ensure_ascii=False) + "\n")


@audit.command("verify")
@json_option
def verify_log(as_json: bool) -> None:
    """Check that the log is intact.

    Finds rows that were changed, moved, added or removed, also at the end of the log. Each finding
    is printed in one line, and the exit status is then 1. Every restart of the chain after a lost
    key and every restore over a log that had findings is reported too.
    """
    with _reading(sealed=True) as log:
        found = log.verify()
    if as_json:
        print_json(
            {
                "rows": found.rows,
                "last": found.last.number,
                "findings": [
                    {"problem": one.problem, "first": one.first, "last": one.last}
                    for one in found.findings
                ],
                "restarts": [asdict(one) for one in found.restarts],
                "restorations": [asdict(one) for one in found.restorations],
                "rechainings": [asdict(one) for one in found.rechainings],
                "erased": {"addresses": found.erased_addresses, "details": found.erased_details},
            }
        )
    else:
        for explained in found.explained:
            click.echo(explained.message)
        for one in found.findings:
            click.echo(one.message)
        if found.erased_addresses or found.erased_details:
            click.echo(
                f"erased: {counted(found.erased_addresses, 'address', 'addresses')} and "
                f"{counted(found.erased_details, 'detail')}"
            )
        if not found.findings:
            since = f" from row {found.verified_from} on" if found.verified_from > 1 else ""
            but = "apart from that, " if len(found.explained) > len(found.restarts) else ""
            click.echo(f"{but}the audit log is intact{since}: {counted(found.rows, 'row')}")
    if found.findings:
        sys.exit(1)


@audit.command("accept")
@yes_option
def accept_end(yes: bool) -> None:
    """Accept the current end of the log.

    Use this if the head file disagrees, because you replaced the database by hand or lost the head
    file, or if rows had findings when they were re-chained. A new row records the previous head and
    the user. The verify command still reports altered rows.
    """
    settings = instance_settings()
    database_of(settings).require()
    seal = load_seal(settings)
    store = database_of(settings).open_store(seal=seal)
    try:
        former = _read_head(seal)
        last = store.audit.last()
        claim = former if isinstance(former, str) else f"the head file records row {former.number}"
        for one in store.audit.verify().findings:
            click.echo(one.message, err=True)
        confirm(f"The log ends with row {last.number}; {claim}. Accept that end?", yes)
        accept(store.audit, former)
        number = store.audit.last().number
    finally:
        store.close()
    click.echo(f"accepted: recorded in row {number}")


@audit.command("restart")
@yes_option
def restart_chain(yes: bool) -> None:
    """Begin a new chain after a lost key.

    Use this if the key of the log is lost permanently: it creates a new one. The service must be
    stopped, and the key file must be missing. Export the log first: existing rows are kept, but can
    no longer be verified; only later changes to them are found. A new row records the user and the
    time, and the verify command always reports it.
    """
    settings = instance_settings()
    database_of(settings).require()
    with without_service(settings):
        with closing(database_of(settings).open_store()) as store:
            last = store.audit.last()
        if not last.number:
            raise ConfigurationError(
                "the audit log has no rows yet; to create its key, run: latchkey init"
            )
        path = make_next_audit_key_file(settings)
        try:
            seal = load_seal(settings)
            claim = _read_claim(seal)
            rows = "Row 1" if last.number == 1 else f"Rows 1 to {last.number}"
            confirm(
                f"The log ends with row {last.number}; {claim}. Begin a new chain after it? "
                f"{rows} can never be verified again.",
                yes,
            )
            head = _restart(settings, seal, claim)
        except HeadUnusable as error:
            raise _without_head(error) from None
        except BaseException:
            # No row was written with the new key.
            path.unlink(missing_ok=True)
            raise
    click.echo(f"created {path}")
    click.echo(f"row {head.number} begins a new chain")


def _restart(settings: Settings, seal: Seal, claim: str) -> Head:
    """Add the row that begins a chain, with a digest of all earlier rows."""
    with closing(database_of(settings).open_store(seal=seal)) as store:
        Publisher(store.audit).publish(
            store.audit.rechain(unverified="the key with which they were written was lost")
        )

        def decide() -> AuditEvent:
            # No row can be added while this runs.
            rows = RowsDigest()
            for entry in store.audit.entries():
                rows.add(entry)
            detail = {"rows_sha256": rows.hexdigest(), "head": claim}
            return AuditEvent(utc_now(), Action.AUDIT_RESTART, command_line_user(), detail=detail)

        return Publisher(store.audit).publish(store.audit.record_new_end(decide))


def _read_claim(seal: Seal) -> str:
    """The claim of the head file, in words. It cannot be verified without the key."""
    try:
        number = seal.head.claim().number
        return f"the head file, which cannot be verified, records row {number}"
    except HeadUnusable as error:
        return str(error)


def accept(log: AuditLog, former: Head | str) -> None:
    """Record the former head in a row, then replace it."""
    detail: dict[str, object] = {"head": former}
    if isinstance(former, Head):
        detail = {"head": former.number, "mac": former.mac}
    # Rows of version 0.2 that were put back by hand, or whose head file was lost. A second
    # call accepts their findings.
    accepted = log.verify().unaccepted
    publisher = Publisher(log)
    if accepted:
        detail["rechained"] = accepted
    try:
        publisher.publish(log.rechain(detached=True))
        record = AuditEvent(utc_now(), Action.AUDIT_ACCEPT, command_line_user(), detail=detail)
        publisher.publish(log.record_new_end(lambda: record))
    except HeadUnusable as error:
        raise _without_head(error) from None


def _without_head(error: HeadUnusable) -> LatchkeyError:
    return LatchkeyError(f"{error}; then run: latchkey audit accept")


@contextmanager
def _reading(*, sealed: bool = False) -> Iterator[AuditLog]:
    """Open the log; ``sealed`` also loads its key, which verification needs."""
    settings = instance_settings()
    database_of(settings).require()
    store = database_of(settings).open_store(seal=load_seal(settings) if sealed else None)
    try:
        yield store.audit
    finally:
        store.close()


def _read_head(seal: Seal) -> Head | str:
    try:
        return seal.head.read()
    except HeadUnusable as error:
        return str(error)


def _cells(entry: AuditRow) -> list[str]:
    return [
        str(entry.number),
        str(entry.json_fields["at"]),
        entry.action,
        f"{entry.actor_kind} {entry.actor or ''}".rstrip(),
        _ERASED if entry.is_address_erased else entry.address or "",
        entry.subject or "",
        _ERASED if entry.is_detail_erased else entry.detail if entry.detail != "{}" else "",
    ]

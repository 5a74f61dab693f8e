"""``latchkey apply``: make the accounts and keys of the database those that a file declares."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from latchkey.errors import LatchkeyError
from latchkey.files.owner import as_caller
from latchkey.files.shared_places import create_private, sync_directory
from latchkey.wording import counted
from latchkey_service.cli.apply_plan import CHANGES, Plan, described, make_plan
from latchkey_service.cli.apply_steps import Created, apply_plan
from latchkey_service.cli.asking import confirm
from latchkey_service.cli.declared_file import DeclaredAccount, InvalidFile, read_declared
from latchkey_service.cli.options import json_option, yes_option
from latchkey_service.cli.printing import print_json, visible
from latchkey_service.cli.session import changing, reading
from latchkey_service.cli.streams import input_from

WOULD_CHANGE = 3
"""The exit status of --dry-run if the database differs from the file."""


@click.command("apply")
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the plan, and change nothing. The exit status is 3 if the plan has changes.",
)
@click.option(
    "--prune",
    is_flag=True,
    help="Revoke keys that this command created in the accounts of FILE, if FILE does not declare "
    "them any more.",
)
@click.option(
    "--secrets",
    type=click.Path(path_type=Path),
    help="Write the secrets of created keys to this new file, as JSON lines.",
)
@yes_option
@json_option
def apply_command(
    file: Path, dry_run: bool, prune: bool, secrets: Path | None, yes: bool, as_json: bool
) -> None:
    """Create and change accounts and keys as FILE declares them.

    FILE is in TOML; - reads standard input. The command prints the plan first, and asks for
    confirmation. Secrets of created keys are printed once, or written to the file that --secrets
    names. Other keys and accounts stay as they are. Keys are revoked only with --prune, or to
    replace a key whose secret was not delivered. The command can be repeated, also after a failure.
    """
    try:
        declared = _read(file)
        with reading() as session:
            plan = make_plan(declared, session, prune=prune)
        _show(plan, as_json=as_json, asks=bool(plan.changes) and not (dry_run or yes))
        if dry_run or not plan.changes:
            if as_json:
                _print_result(plan, [], applied=False)
            if plan.changes:
                sys.exit(WOULD_CHANGE)
            return
        # Ask outside the block below: a service that starts meanwhile must not wait.
        confirm(f"Make {counted(plan.changes, 'change')}?", yes)
        _apply(plan, declared, prune, secrets, as_json)
    except InvalidFile as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        raise LatchkeyError(
            f"nothing was changed: {counted(len(error.problems), 'problem')} in {file}"
        ) from None


def _read(file: Path) -> list[DeclaredAccount]:
    try:
        return read_declared(input_from(file).decode())
    except UnicodeDecodeError:
        raise InvalidFile(["the file is not UTF-8"]) from None


def _apply(
    shown: Plan, declared: list[DeclaredAccount], prune: bool, secrets: Path | None, as_json: bool
) -> None:
    creates = any(step.action in ("create", "replace") for step in shown.keys)
    with _secrets_file(secrets if creates else None) as descriptor, changing() as session:
        plan = make_plan(declared, session, prune=prune)
        if plan.rows() != shown.rows():
            raise LatchkeyError(
                "nothing was changed: the database changed meanwhile; run the command again"
            )

        def deliver(created: list[Created]) -> None:
            if descriptor is not None:
                _write(descriptor, created)
            try:
                if as_json:
                    _print_result(plan, [] if descriptor is not None else created, applied=True)
                else:
                    _print_created(created, secrets if descriptor is not None else None)
                sys.stdout.flush()
            except OSError as error:
                if descriptor is not None:
                    return
                raise LatchkeyError(
                    f"the secrets could not be printed ({error.strerror}): run the command again, "
                    "which replaces the keys that it created"
                ) from None

        apply_plan(plan, session, deliver)
    if not as_json:
        click.echo(f"made {counted(plan.changes, 'change')}")


def _show(plan: Plan, *, as_json: bool, asks: bool) -> None:
    """Print the plan; with --json only to a person who is asked."""
    if as_json and not asks:
        return
    for line in described(plan.rows()):
        click.echo(visible(line), err=as_json)
    counts: dict[str, int] = {}
    for step in plan.steps:
        counts[step.action] = counts.get(step.action, 0) + 1
    if not plan.changes:
        click.echo("nothing to change", err=as_json)
    else:
        words = (f"{number} to {action}" for action, number in counts.items() if action in CHANGES)
        click.echo(", ".join(words), err=as_json)


def _print_result(plan: Plan, created: list[Created], *, applied: bool) -> None:
    print_json(
        {
            "applied": applied,
            "changes": plan.changes,
            "plan": plan.rows(),
            "secrets": [one.fields() for one in created],
        }
    )


def _print_created(created: list[Created], file: Path | None) -> None:
    if not created:
        return
    if file is not None:
        click.echo(f"wrote {counted(len(created), 'secret')} to {file}")
        return
    for one in created:
        fields = one.fields()
        click.echo(f"\n{fields['account'] or 'instance account'} / {fields['id']}")
        click.echo(f"api_key     {fields['api_key']}\napi_secret  {fields['api_secret']}")
    click.echo("\nThe secrets are shown only once.")


@contextmanager
def _secrets_file(path: Path | None) -> Iterator[int | None]:
    """A new file for secrets, open before anything is changed; removed if it stays empty."""
    if path is None:
        yield None
        return
    try:
        with as_caller():
            descriptor = create_private(path)
            sync_directory(path.parent)
    except FileExistsError:
        raise LatchkeyError(
            f"nothing was changed: {path} already exists; name another file"
        ) from None
    except OSError as error:
        raise LatchkeyError(f"nothing was changed: {path}: {error.strerror}") from None
    try:
        yield descriptor
    finally:
        if not os.fstat(descriptor).st_size:
            with as_caller():
                path.unlink(missing_ok=True)
        os.close(descriptor)


def _write(descriptor: int, created: list[Created]) -> None:
    """Write the secrets durably. After a failure, the next run replaces the keys."""
    lines = "".join(json.dumps(one.fields()) + "\n" for one in created)
    try:
        with open(descriptor, "wb", closefd=False) as opened:
            opened.write(lines.encode())
            opened.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise LatchkeyError(
            f"the secrets could not be written ({error.strerror}): run the command again with "
            "another file, which replaces the keys that it created"
        ) from None

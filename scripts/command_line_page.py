"""The text of docs/reference/command-line.md, generated from the commands and their help texts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from latchkey_service.cli import cli

_INTRODUCTION = """\
# Command line

<!-- Made by `make reference` from the commands' own help texts; change it there. -->

The command `latchkey` belongs to the distribution `latchkey-auth[service]`. Its settings are the
`LATCHKEY_*` variables of the environment ([settings](settings.md)). Run it in the directory of the
instance, or with absolute paths in the settings. Every command prints this help with `--help` or
`-h`. With `--version`, `latchkey` prints its version.

## Exit status

| status | meaning |
|---|---|
| 0 | The command succeeded. |
| 1 | The command failed. Standard error has one line with the reason. `latchkey audit verify` \
also exits with 1 if it has findings. |
| 2 | Incorrect usage: an unknown command, option or value. Nothing was changed. |
| 3 | `latchkey apply --dry-run` found differences. |

A command that creates or changes keys takes effect in every worker of a running service before it
returns. If it cannot reach the memory of a running service, it changes nothing and exits with 1.

## Output

- With `--json`, a command prints one JSON object on standard output.
- A listing is a table at a terminal. Otherwise it has one line for each row, with tabs between the
  cells. Without `--json`, it shows the newest 50 rows, and standard error has the number of further
  rows.
- Commands that cannot be undone ask for confirmation. If standard input is not a terminal, they
  change nothing without `--yes`.
- A secret is printed once, by the command that creates it. It cannot be shown again.
"""

# One example for each command that has arguments or options worth showing.
EXAMPLES = {
    "latchkey accounts change": 'latchkey accounts change customer-17 --name "Acme Ltd"',
    "latchkey accounts create": "latchkey accounts create --name Acme --quota 1000000/month",
    "latchkey accounts disable": "latchkey accounts disable customer-17",
    "latchkey accounts enable": "latchkey accounts enable customer-17",
    "latchkey accounts list": "latchkey accounts list --search acme --json",
    "latchkey accounts erase": "latchkey accounts erase customer-17",
    "latchkey accounts revoke-keys": "latchkey accounts revoke-keys customer-17 --dry-run",
    "latchkey accounts show": "latchkey accounts show customer-17",
    "latchkey accounts usage": "latchkey accounts usage customer-17 --json",
    "latchkey admin create": "latchkey admin create ada",
    "latchkey admin disable": "latchkey admin disable ada",
    "latchkey admin enable": "latchkey admin enable ada",
    "latchkey admin list": "latchkey admin list --json",
    "latchkey admin password": "latchkey admin password ada --password-stdin",
    "latchkey admin remove": "latchkey admin remove ada --yes",
    "latchkey apply": "latchkey apply keys.toml --dry-run",
    "latchkey audit accept": "latchkey audit accept",
    "latchkey audit export": "latchkey audit export log.jsonl",
    "latchkey audit list": "latchkey audit list --key ak_live_… --since 2026-01-15",
    "latchkey audit restart": "latchkey audit restart",
    "latchkey audit verify": "latchkey audit verify --json",
    "latchkey backup": "latchkey backup latchkey-2026-01-15.db",
    "latchkey boxes": "latchkey boxes --json",
    "latchkey cache clear": "latchkey cache clear",
    "latchkey cache stats": "latchkey cache stats --json",
    "latchkey config": "latchkey config",
    "latchkey init": "latchkey init",
    "latchkey keys change": "latchkey keys change ak_live_… --name billing --expires-at never",
    "latchkey keys create": (
        "latchkey keys create --name billing --scope account:read --limit 100/minute"
    ),
    "latchkey keys export": "latchkey keys export keys.csv --format csv",
    "latchkey keys import": "latchkey keys import keys.csv --skip-existing",
    "latchkey keys list": "latchkey keys list --mode live --due",
    "latchkey keys revoke": "latchkey keys revoke ak_live_… --yes",
    "latchkey keys rotate": "latchkey keys rotate ak_live_… --overlap 3600",
    "latchkey keys show": "latchkey keys show ak_live_…",
    "latchkey keys usage": "latchkey keys usage ak_live_… --json",
    "latchkey limits reset": "latchkey limits reset ak_live_… --name monthly",
    "latchkey limits show": "latchkey limits show customer-17 --json",
    "latchkey migrate-database": (
        "latchkey migrate-database sqlite:///data/latchkey.db "
        "postgresql+psycopg://latchkey@db.example.com/latchkey"
    ),
    "latchkey reconcile": (
        "latchkey reconcile postgresql+psycopg://latchkey@db.example.com/latchkey_before"
    ),
    "latchkey restore": "latchkey restore latchkey-2026-01-15.db",
    "latchkey serve": "latchkey serve --bind 127.0.0.1:8080 --workers 2",
    "latchkey vendor generate": "latchkey vendor generate --mode test --json",
    "latchkey vendor instance-key": "latchkey vendor instance-key --name eu-west-1",
    "latchkey verify explain": (
        "latchkey verify explain GET https://api.example.com/orders/17 --key ak_live_…"
    ),
}


def page() -> str:
    """The page's text."""
    # A command keeps the help option of its first context, which therefore needs these settings.
    context = click.Context(cli, info_name="latchkey", **cli.context_settings)
    return "\n".join([_INTRODUCTION, *_sections(cli, context)])


def _sections(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            raise LookupError(name)
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield f"## {inner.command_path}\n\n{_help(command)}\n"
            yield from _sections(command, inner)
        else:
            level = "##" if context.parent is None else "###"
            yield f"{level} `{inner.command_path}`\n\n{_description(command, inner)}"


def _description(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [_help(command), f"Usage: `{usage}`"]
    records = [
        param.get_help_record(context)
        for param in command.get_params(context)
        if isinstance(param, click.Option) and "--help" not in param.opts
    ]
    options = [f"- `{names}`: {_one_line(text)}" for names, text in filter(None, records)]
    if options:
        parts.append("\n".join(options))
    if context.command_path in EXAMPLES:
        parts.append(f"Example: `{EXAMPLES[context.command_path]}`")
    return "\n\n".join(parts) + "\n"


def _help(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "")


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("  ", " ")

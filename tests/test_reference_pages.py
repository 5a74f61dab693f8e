"""The pages of docs/reference/: each says what the code says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click
import pytest

from latchkey.config import Settings, load_settings, variable
from latchkey_service.cli import cli
from scripts import command_line_page, settings_page
from scripts.write_reference import PAGES
from tests.support.documents.reference import rows, sections, text

MODULES = (
    *("latchkey", "latchkey.asgi", "latchkey.fastapi", "latchkey.errors"),
    *("fastcache", "fastcache.shared"),
)


# ---- pages that are made from the code


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_that_is_made_from_the_code_is_up_to_date(path: Path) -> None:
    """After a change: make reference"""
    assert path.read_text("utf-8") == PAGES[path]()


def test_every_setting_is_on_the_page_once() -> None:
    fields = [field for subject in settings_page.SUBJECTS for field in subject.notes]
    assert sorted(fields) == sorted(Settings.model_fields)
    shown = sections("settings.md", r"### `(\w+)`")
    assert set(shown) == {variable(field) for field in Settings.model_fields}
    for field, info in Settings.model_fields.items():
        assert info.description is not None
        assert info.description in shown[variable(field)]


def test_the_examples_of_settings_are_allowed() -> None:
    for subject in settings_page.SUBJECTS:
        for field, note in subject.notes.items():
            if note.example:
                load_settings({variable(field): note.example})


def commands(
    group: click.Group = cli, context: click.Context | None = None
) -> Iterator[click.Context]:
    """The context of every command, without the groups."""
    context = context or click.Context(cli, info_name="latchkey")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from commands(command, inner)
        else:
            yield inner


def test_every_command_has_a_section_and_an_example() -> None:
    found = {context.command_path: context for context in commands()}
    assert set(sections("command-line.md", r"##+ `(.+)`")) == set(found)
    assert set(command_line_page.EXAMPLES) == set(found)
    key = f"ak_live_{'0' * 22}"
    for path, example in command_line_page.EXAMPLES.items():
        words = shlex.split(example.replace("ak_live_…", key))[len(path.split()) :]
        command, parent = found[path].command, found[path].parent
        # A file that has to exist is checked when the command runs.
        if path not in ("latchkey apply", "latchkey keys import", "latchkey restore"):
            command.make_context(found[path].info_name, words, parent=parent)


def test_every_option_is_on_the_page() -> None:
    shown = sections("command-line.md", r"##+ `(.+)`")
    for context in commands():
        for option in context.command.params:
            if isinstance(option, click.Option):
                for name in option.opts:
                    assert (
                        f"`{name}" in shown[context.command_path]
                        or f", {name}" in (shown[context.command_path])
                    )


# ---- the Python API


@pytest.mark.parametrize("name", MODULES)
def test_the_public_names(name: str) -> None:
    module: ModuleType = import_module(name)
    table = rows(sections("python-api.md", f"## ({re.escape(name)})")[name])
    assert all(len(row) == 2 and row[1] for row in table)
    listed = [row[0].strip("`") for row in table]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(module.__all__)


def test_the_members_of_a_principal() -> None:
    from latchkey import Principal

    table = rows(sections("python-api.md", "### (Principal)")["Principal"])
    told = [row[0].strip("`").partition("(")[0] for row in table]
    members = {
        name
        for name, value in vars(Principal).items()
        if callable(value) or type(value) is property
    }
    public = [name for name in vars(Principal) if name in members and not name.startswith("_")]
    assert told == [*Principal.__slots__, *public]


def test_every_public_name_has_a_docstring() -> None:
    for name in MODULES:
        module = import_module(name)
        for public in module.__all__:
            if public != "current_principal":
                assert getattr(module, public).__doc__, (name, public)


def test_the_names_whose_docstrings_the_site_shows() -> None:
    listed = re.findall(
        r"^<!-- ::: ([\w.]+) members=([\w,]*) -->$", text("python-api.md"), re.MULTILINE
    )
    assert len(listed) == text("python-api.md").count("<!-- :::")
    for path, members in listed:
        module, _, name = path.rpartition(".")
        assert name in import_module(module).__all__
        for member in filter(None, members.split(",")):
            assert getattr(getattr(import_module(module), name), member).__doc__, (path, member)

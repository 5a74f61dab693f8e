"""``latchkey verify``: explains the answers to proxies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from latchkey.addresses import parse_address
from latchkey.check.limit_levels import LimitLevel
from latchkey.config import Settings, variable
from latchkey.credentials.limits import Limit, RateLimit
from latchkey.credentials.models import Credential
from latchkey.credentials.needs import describe
from latchkey.credentials.times import utc_now
from latchkey.errors import InvalidRequest
from latchkey.key_files import load_derivation
from latchkey_service.cli.instance import instance_settings
from latchkey_service.cli.options import API_KEY, TEXT, json_option
from latchkey_service.cli.printing import print_fields, print_json
from latchkey_service.cli.session import reading
from latchkey_service.server.trial import refusal_of_head
from latchkey_service.shapes.limits import limit_level_objects
from latchkey_service.verify.explaining import (
    Asked,
    Explained,
    explain,
    head_of,
    matching,
    original_of,
)
from latchkey_service.verify.needs import requirement_of
from latchkey_service.verify.originals import PROXIES, Proxy
from latchkey_service.verify.rules import Rule
from latchkey_service.verify.rules_file import load_rules

_ADMITTED = {True: "OPEN", False: "VALID"}
_QUERY = re.compile(r"[!-~]*", re.ASCII)
_BY_NAME = {proxy.name: proxy for proxy in PROXIES}


@click.group()
def verify() -> None:
    """Explain the answers to reverse proxies."""


@verify.command("explain")
@click.argument("method", type=TEXT)
@click.argument("url", type=TEXT)
@click.option("--host", type=TEXT, help="The host of the request, if URL is only a path.")
@click.option("--key", "api_key", type=API_KEY, help="The key of the client, ak_…")
@click.option("--address", type=TEXT, help="The address of the client.")
@click.option(
    "--proxy",
    type=click.Choice(sorted(_BY_NAME)),
    default="nginx",
    show_default=True,
    help="The proxy that asks.",
)
@click.option(
    "--needs",
    type=TEXT,
    help="The query of the verify URL, such as scope=orders:read&mode=test.",
)
@json_option
def explain_request(
    method: str,
    url: str,
    host: str | None,
    api_key: str | None,
    address: str | None,
    proxy: str,
    needs: str | None,
    as_json: bool,
) -> None:
    """Show which rule matches a request, and how a proxy that asks about it is answered.

    The rules are those of the routes file. The verify URL is configured in the proxy, so give its
    parameters with --needs. Nothing is changed, counted or taken from limits.
    """
    if address is not None and parse_address(address) is None:
        raise click.BadParameter("must be an IP address", param_hint="--address")
    if needs is not None:
        if not _BY_NAME[proxy].reads_query:
            raise click.BadParameter(
                f"the verify URL of {proxy} has no parameters", param_hint="--needs"
            )
        if not _QUERY.fullmatch(needs):
            raise click.BadParameter("is not a valid query of a URL", param_hint="--needs")
    try:
        original = original_of(method, url, host)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URL") from None
    except InvalidRequest as error:
        raise click.BadParameter(error.message, param_hint="METHOD, URL or --host") from None
    settings = instance_settings()
    rules = load_rules(settings)
    credential: Credential | None = None
    listed: frozenset[str] = frozenset()
    levels: list[LimitLevel] = []
    if api_key is not None:
        with reading() as session:
            credential = session.credentials.get(api_key, None)
            levels = session.limit_levels.levels_of(credential, credential.mode)
        listed = frozenset(load_derivation(settings).ids)
    asked = Asked(_BY_NAME[proxy], original, address, needs or "")
    refused = refusal_of_head(head_of(asked))
    if refused is None:
        found = explain(asked, rules, credential, listed=listed, now=utc_now(), levels=levels)
    else:
        found = Explained(original, matching(rules, original), False, refused)
    fields = _fields(found, asked.proxy, settings)
    if as_json:
        print_json({**fields, "limits": limit_level_objects(found.levels)})
        return
    if found.levels:
        fields["limits"] = "; ".join(
            f"{level.name}, {_allowed(level.limit)}: {level.remaining:,} left"
            for level in found.levels
        )
    print_fields({name: value for name, value in fields.items() if value is not None})


def _fields(found: Explained, proxy: Proxy, settings: Settings) -> dict[str, Any]:
    """The explanation, in the order of the output."""
    error = found.error
    shown_target = (
        found.original.target.partition("?")[0].encode("latin-1").decode(errors="replace")
    )
    fields: dict[str, Any] = {
        "request": f"{found.original.method} {found.original.host}{shown_target}",
        "rule": None if found.rule is None else str(found.rule),
        "place": None,
        "needs": None if found.rule is None else _needs(found.rule),
        "status": found.status,
        "code": _ADMITTED[found.open] if error is None else error.code("bearer").upper(),
        "reason": None if error is None else error.message,
        "answer_to_proxy": found.status_for(proxy),
        "cost": found.cost or None,
    }
    if found.rule is not None:
        fields["place"] = f"{Path(settings.verify_routes).absolute()}:{found.rule.line}"
    elif not settings.verify_routes:
        fields["rule"] = f"none: {variable('verify_routes')} names no routes file"
    else:
        fields["rule"] = "none matches"
    return fields


def _allowed(limit: Limit) -> str:
    """What a limit allows, in short."""
    if isinstance(limit, RateLimit):
        return f"{limit.count}/{limit.period}"
    return f"{limit.quota}/{limit.period}"


def _needs(rule: Rule) -> str:
    """What a rule needs, as a sentence."""
    if rule.open:
        return "no key"
    need = requirement_of(rule.scopes, rule.scope_any).need
    mode = f"a {rule.mode} key" if rule.mode else "a key"
    return mode if need is None else f"{mode} with {describe(need)}"

"""``latchkey accounts erase``: remove what identifies a customer, and revoke the keys."""

from __future__ import annotations

import click

from latchkey.box.sightings import forget_sightings
from latchkey.credentials.accounts import Account
from latchkey.errors import InvalidField, LatchkeyError, StoreError
from latchkey.wording import counted
from latchkey_service.cli.asking import confirm
from latchkey_service.cli.options import TEXT, json_option, yes_option
from latchkey_service.cli.printing import print_json
from latchkey_service.cli.session import Session, changing
from latchkey_service.command_user import command_line_user


@click.command("erase")
@click.argument("account", type=TEXT)
@yes_option
@json_option
def erase_account(account: str, yes: bool, as_json: bool) -> None:
    """Erase an account permanently, and revoke all its keys.

    ACCOUNT is the id of an account, acct_…, or its external id. The command removes the name, the
    external id and the metadata of the account; the names, metadata and conditions of its keys; the
    addresses that the keys were used from; and addresses and details in the audit log. Listings
    still show the ids of the account and its keys. Backups, exported logs and the service's own log
    are not changed.
    """
    with changing() as session:
        found = _erasable(session, account)
    if not yes:
        # Ask outside the block: a service that starts meanwhile must not wait for the answer.
        confirm(
            f"Erase {found.name or 'the erased account'} ({found.id}), and revoke all its keys? "
            "This cannot be undone.",
            yes,
        )
    with changing() as session:
        erased = session.accounts.erase(_erasable(session, found.id).id, by=command_line_user())
        forget_sightings(session.shared.sightings, erased.credential_ids)
        # Also the copies that the database may have left in unused parts of its file.
        try:
            left = session.store.scrub()
        except StoreError as error:
            raise LatchkeyError(
                f"{erased.account.id} is erased, but the database could not be rewritten "
                f"({error.detail}); to do that, run this command again"
            ) from None
    if as_json:
        print_json(
            {
                "account": erased.account.id,
                "keys": len(erased.credential_ids),
                "revoked": erased.revoked,
                "addresses": erased.addresses,
                "details": erased.details,
            }
        )
        return
    if left is not None:
        click.echo(left, err=True)
    click.echo(
        f"erased {erased.account.id}: revoked {counted(erased.revoked, 'key')}; erased "
        f"{counted(erased.addresses, 'address', 'addresses')} and "
        f"{counted(erased.details, 'detail')} in the audit log"
    )


def _erasable(session: Session, account: str) -> Account:
    found = session.accounts.named(account)
    if found.is_instance:
        raise InvalidField(
            "account", "the instance account cannot be erased; revoke its keys instead"
        )
    return found

"""The result of a restore: the state that was taken over from the former database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CarriedAccounts:
    """The accounts that a restored database took over from the former one.

    ``disabled`` and ``erased``: ids of accounts that the backup would have enabled or brought back;
    ``kept``: how many accounts that the backup lacks were taken over.
    """

    disabled: list[str]
    erased: list[str]
    kept: int


@dataclass(frozen=True, slots=True)
class Carried:
    """The state that a restored database took over from the former one.

    ``ended``: keys that the backup would have revived or extended; ``rotated``: other keys that
    were rotated; ``narrowed``: keys to which the backup would have given more scopes, or
    looser conditions; ``kept`` and ``lost``: how many keys that the backup lacks were and were not
    taken over. ``audited``: the log continues from the end of the former one. ``kept_out``:
    administrators that the former one lacks. ``accounts``: the accounts taken over.
    """

    ended: list[str]
    rotated: list[str]
    narrowed: list[str]
    kept: int
    lost: int
    audited: bool
    kept_out: list[str]
    accounts: CarriedAccounts

    @property
    def detail(self) -> dict[str, object]:
        """The result as the detail of an audit row."""
        return {
            "ended": len(self.ended),
            "rotated": len(self.rotated),
            "narrowed": len(self.narrowed),
            "kept": self.kept,
            "lost": self.lost,
            "kept_out": self.kept_out,
            "accounts_kept": self.accounts.kept,
            "accounts_disabled": self.accounts.disabled,
            "accounts_erased": self.accounts.erased,
        }

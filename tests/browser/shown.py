"""The pages that are looked at: by axe for who cannot see them, and in screenshots for who can."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """One page: its name, its path, and whether one is signed in there.

    The path may have names of the demonstration's keys in it, as ``{billing}``.
    """

    name: str
    path: str
    signed_in: bool = True


PAGES: tuple[Shown, ...] = (
    Shown("sign-in", "/console/sign-in", signed_in=False),
    Shown("set-up-over", "/console/set-up", signed_in=False),
    Shown("account", "/console/account/"),
    Shown("not-found", "/console/nowhere"),
)

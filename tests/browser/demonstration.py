"""What the pages show in pictures: keys made and used through the real service."""

from __future__ import annotations

from tests.browser.shown import Shown
from tests.service import Service


class Demonstration:
    """The demonstration's data in a service; nothing of it is of use afterwards."""

    def __init__(self, service: Service) -> None:
        self.names: dict[str, str] = {}
        self._service = service

    def path(self, shown: Shown) -> str:
        """A page's path, with the demonstration's keys in the place of their names."""
        return shown.path.format(**self.names)

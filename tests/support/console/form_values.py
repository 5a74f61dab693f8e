"""What a browser would send for a form, as the page fills it in."""

from __future__ import annotations

from html.parser import HTMLParser


def values_of(page: str) -> dict[str, str]:
    """The fields of the last form of a page by name; of several checkboxes, the last checked."""
    parser = _Values()
    parser.feed(page)
    return parser.values


class _Values(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._textarea = ""
        self._select = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "form":
            self.values = {}
        elif tag == "textarea":
            self._textarea = found["name"]
            self.values[self._textarea] = ""
        elif tag == "select":
            self._select = found["name"]
        elif tag == "option" and (self._select not in self.values or "selected" in found):
            # Without a selected option, a browser sends the first one.
            self.values[self._select] = found["value"]
        elif tag == "input" and "name" in found:
            if found.get("type") not in ("radio", "checkbox") or "checked" in found:
                self.values[found["name"]] = found.get("value", "")

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.values[self._textarea] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            # A browser ignores one line break after the tag.
            self.values[self._textarea] = self.values[self._textarea].removeprefix("\r\n")
            self._textarea = ""

"""The tables of the overhead, and the values for the placeholders in page.md."""

from __future__ import annotations

from pathlib import Path

from benchmarks.overhead import goals, plots
from benchmarks.overhead.goals import in_microseconds
from benchmarks.overhead.limited import OTHERS
from benchmarks.overhead.results import AGAIN, BARE, GOAL_YARDSTICK, YARDSTICK, OverheadResults
from benchmarks.parts import Table, View, format_estimate, format_figure

ABOUT = {
    "bearer": "a hit, `Authorization: Bearer`",
    "pair": "a hit, `X-Api-Key` and `X-Api-Secret`",
    "outside": "a route outside of the protected parts",
    "ASGI hit": "a hit, through the ASGI middleware",
    "plain, bearer": "a hit of a key without limits, `Authorization: Bearer`",
    "plain, pair": "a hit of a key without limits, `X-Api-Key` and `X-Api-Secret`",
    "rate, bearer": "a hit of a key with a rate limit, `Authorization: Bearer`",
    "rate, pair": "a hit of a key with a rate limit, `X-Api-Key` and `X-Api-Secret`",
    "rate and quota": "a hit of a key with a rate limit and a quota",
    "plain, answer": "a hit without limits, in front of an application that calls `start_response`",
    "rate, answer": "the same with a rate limit, which adds `RateLimit` headers",
    "rate, one key": f"a hit of a key with a rate limit that {OTHERS} other processes use",
    "verify": "`/verify/nginx`, a hit",
    "shared cache": "a hit in the cache between workers",
    "miss": "a miss: one SELECT of SQLite",
    "forged pair": "a forged pair: no database access",
    "unknown key": "a valid key that is not registered",
    "networks and endpoints": "a hit of a key with 4 networks and 3 endpoint rules",
    "Python path": "a hit, decided in Python with `fastcache`",
    "cachetools backend": "a hit, decided in Python with the backend `cachetools`",
    AGAIN: "the same view, measured again",
    "check": "the check",
    "check, metrics": "check and metrics",
    "check, metrics, requirement": "check, metrics, and `@any_credential` on the view",
    "Latchkey": "**Latchkey**, complete",
    "before_request, TTLCache": "a `before_request` hook, `cachetools.TTLCache`",
    "Flask-HTTPAuth, TTLCache": "Flask-HTTPAuth, `cachetools.TTLCache`",
    "Flask-HTTPAuth, SQLite": "Flask-HTTPAuth, SQLite for each request",
    "djangorestframework-api-key": "djangorestframework-api-key, SQLite for each request",
}
"""Each subject, described in words."""


def tables(results: OverheadResults) -> dict[str, Table]:
    """Every table, by its name."""
    return {
        "over_nothing": _over_nothing(results),
        "limited": _limited(results),
        "over_asgi": _over_view(results, "asgi", "an ASGI application that answers at once"),
        "over_same_headers": _over_view(
            results, "verify", "a bare WSGI application that sends the same headers"
        ),
        "over_flask": _over_view(results, "flask", "a bare Flask view"),
        "peers": _over_view(results, "peers", "a bare Flask view"),
        "over_django": _over_view(results, "django", "a bare view of Django REST framework"),
        "instructions": _instructions(results),
    }


def words(results: OverheadResults) -> dict[str, str]:
    """The other values on the page about this measurement."""
    settings = results.settings
    taken = results.added("hits", YARDSTICK)
    yardstick = ""
    if taken is not None:
        yardstick = (
            f"`hashlib.sha256(79 bytes).digest()` took {format_figure(taken.value)} ns in this "
            f"run, {taken.value / GOAL_YARDSTICK:.2f} times the {GOAL_YARDSTICK} ns of the "
            "machine for which the goals in microseconds were set. For each of these goals, the "
            "table shows the measured time and the time scaled to that machine, with a verdict "
            "for each."
        )
    return {
        "processes": str(settings["processes"]),
        "calls": f"{settings['calls']:,}",
        "keys": f"{settings['keys']:,}",
        "yardstick": yardstick,
        "counted": _counted(results),
        "python_path": _python_path(results),
        "limits": _limits(results),
    }


def _over_nothing(results: OverheadResults) -> Table:
    rows = []
    for series, subject in [
        *(("hits", name) for name in results.subjects("hits")),
        ("metrics", "check, metrics"),
        *(("ways", name) for name in results.subjects("ways")),
    ]:
        over = "check" if series == "metrics" else BARE
        added = results.added(series, subject, over)
        if added is None:
            continue
        what = "metrics, on top of a hit" if series == "metrics" else ABOUT[subject]
        share = None if series == "metrics" else results.share(series, subject, "flask")
        rows.append([what, format_estimate(added), format_estimate(share)])
    return Table(["", "added, ns", "of a bare Flask request, %"], rows)


def _limited(results: OverheadResults) -> Table:
    rows = []
    for series, subject, over in [
        *(("limits", name, BARE) for name in ("plain, bearer", "plain, pair")),
        ("limits", "rate, bearer", "plain, bearer"),
        ("limits", "rate, pair", "plain, pair"),
        ("limits", "rate and quota", "plain, bearer"),
        ("limits", "rate, answer", "plain, answer"),
        ("contended", "rate, one key", "plain, bearer"),
    ]:
        added = results.added(series, subject)
        if added is None:
            continue
        more = None if over == BARE else results.added(series, subject, over)
        rows.append([ABOUT[subject], format_estimate(added), format_estimate(more)])
    return Table(["", "added, ns", "by the limits, ns"], rows)


def _over_view(results: OverheadResults, series: str, bare: str) -> Table:
    rows = []
    for subject in (BARE, *results.subjects(series)):
        call, added = results.call(series, subject), results.added(series, subject)
        if call is None or added is None:
            continue
        figures = [format_estimate(in_microseconds(call))]
        if subject == BARE:
            rows.append([bare, *figures, "", ""])
            continue
        figures.append(format_estimate(in_microseconds(added)))
        figures.append(format_estimate(results.share(series, subject)))
        rows.append([ABOUT[subject], *figures])
    return Table(["", "call, µs", "added, µs", "added, %"], rows)


def _instructions(results: OverheadResults) -> Table:
    rows = []
    for series, counts in results.instructions.counts.items():
        for subject, figure in counts.items():
            if subject == BARE:
                what = "a bare Flask view" if series == "flask" else "an empty application"
                if series in ("hits", "flask"):
                    rows.append([what, f"{figure:,.0f}", ""])
                continue
            added = results.instructions.added(series, subject)
            shown = "" if added is None else f"{added:,.0f}"
            rows.append([ABOUT[subject], f"{figure:,.0f}", shown])
    return Table(["", "instructions per call", "added"], rows)


def _counted(results: OverheadResults) -> str:
    """How instructions were counted, or why they were not."""
    found = results.instructions
    if found.tool is None:
        return f"Not available: {found.absent}."
    said = (
        f"Counted by {found.tool}, in user space: {found.calls} calls, and twice as many; "
        "the difference divided by their number is one call. Garbage collection is disabled."
    )
    if found.digest != results.digest:
        said += (
            f" Secrets are digested with {found.digest} here, because the tool hides the "
            f"processor's instructions for {results.digest}, which would need far fewer."
        )
    return said


def _python_path(results: OverheadResults) -> str:
    """How much the compiled check saves, if both were measured."""
    compiled, python = results.added("hits", "bearer"), results.added("ways", "Python path")
    if compiled is None or python is None:
        return ""
    return (
        "The compiled check is an optimisation of the policy in Python, which decides every "
        "request without it. In Python alone, a hit in the same cache adds "
        f"{format_estimate(in_microseconds(python), ' µs')}: "
        f"{python.value / compiled.value:.1f} times as much."
    )


def _limits(results: OverheadResults) -> str:
    """The cases with a noticeable cost, as measured."""
    lines = []
    for series, subject in (
        ("flask", "check, metrics, requirement"),
        ("ways", "shared cache"),
        ("ways", "unknown key"),
        ("ways", "forged pair"),
        ("ways", "miss"),
        ("ways", "networks and endpoints"),
        ("ways", "Python path"),
        ("ways", "cachetools backend"),
    ):
        added, share = results.added(series, subject), results.share(series, subject, "flask")
        if added is not None and share is not None:
            figure = format_estimate(in_microseconds(added), " µs")
            lines.append(
                f"- {ABOUT[subject]}: {figure}, {format_figure(share.value)} % of a bare request"
            )
    ours = results.added("peers", "Latchkey")
    hook = results.added("peers", "before_request, TTLCache")
    if hook is not None and ours is not None:
        times = ours.value / hook.value
        lines.append(
            f"- Everything that Latchkey does before a Flask view takes {times:.2f} times as long "
            "as a plain `before_request` hook with `cachetools.TTLCache`, which has no counters "
            "and no metrics, and still admits revoked keys"
        )
    return "\n".join(lines)


VIEW = View(
    OverheadResults, goals.verdicts, tables, words, plots.draw, Path(__file__).with_name("page.md")
)

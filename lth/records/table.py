"""The table: one row per level; per arm, mean and range over trials.

Arms stand together where they have the same densities; an arm with others has a table of its own.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from lth.measured import Measured
from lth.records.intervals import grouped
from lth.records.judged import ACCURACY, Judged, judged
from lth.records.record import Record
from lth.records.statistics import EARLY, Cell, Summary, summarise

LEVEL = " level"
"""Head of a column that tells rows of one density apart."""


def tables(
    records: Iterable[Record], width: int = 80, measured: Measured = ACCURACY
) -> list[Table]:
    """Return a table per learning rate, cut into several where the arms do not fit ``width``."""
    records = list(records)
    what, shown = judged(records, measured), list[Table]()
    for summaries in grouped(summarise(records).values(), lambda s: s.cell.lr).values():
        own = {s.cell: s for s in summaries}
        left = width - max(len("density"), *(len(_percent(s.density)) for s in summaries))
        arms = dict.fromkeys(cell.arm for cell in own)
        wide = sum(_arm_width(own, arm, what, True) for arm in arms) <= left
        for ladder in ladders(own):
            widths = {arm: _arm_width(own, arm, what, wide) for arm in ladder}
            room = left - len(LEVEL) * _repeats(own, ladder)
            shown += [_table(own, arms, what, wide) for arms in _fitting(widths, room)]
    return shown


def _columns(what: Judged) -> dict[str, str]:
    """Return the head of every value of an arm."""
    unit = " %" * what.share
    return {EARLY: "early stop", what.name: f"{what.split}{unit}", what.end: f"at end{unit}"}


def ladders(summaries: dict[Cell, Summary]) -> list[list[str]]:
    """Group the arms of a rate so that those of a group have one density, as printed, per level."""
    groups: list[tuple[dict[int, str], list[str]]] = []
    for arm, rows in grouped(summaries.values(), lambda s: s.cell.arm).items():
        own = {s.cell.level: _percent(s.density) for s in rows}
        fits = (g for g in groups if all(g[0].get(n, text) == text for n, text in own.items()))
        levels, arms = next(fits, ({}, []))
        if not arms:
            groups.append((levels, arms))
        levels |= own
        arms.append(arm)
    return [arms for _, arms in groups]


def _repeats(summaries: dict[Cell, Summary], arms: Collection[str]) -> bool:
    """Whether levels of these arms, which share their densities, have one density."""
    levels = {c.level: _percent(s.density) for c, s in summaries.items() if c.arm in arms}
    return len(set(levels.values())) < len(levels)


def render(records: Iterable[Record], width: int = 80, measured: Measured = ACCURACY) -> str:
    """Return the tables as text."""
    text = io.StringIO()
    console = Console(file=text, width=width)
    for table in tables(records, width, measured):
        console.print(table)
    return text.getvalue()


def _arm_width(summaries: dict[Cell, Summary], arm: str, what: Judged, wide: bool) -> int:
    """Columns of the terminal that an arm takes, ranges beside the means or below them."""
    rows = [_values(s, what, wide) for c, s in summaries.items() if c.arm == arm]
    columns = zip(_heads(arm, what), *rows, strict=True)
    return sum(1 + max(_longest(text) for text in column) for column in columns)


def _longest(text: str) -> int:
    return max(map(len, text.replace("[dim]", "").replace("[/dim]", "").split("\n")))


def _heads(arm: str, what: Judged) -> list[str]:
    first, *others = _columns(what).values()
    return [f"{_two_lines(arm)}\n{first}", *(f"\n\n{words}" for words in others)]


def _two_lines(arm: str) -> str:
    r"""Break a name at the underscore nearest to its middle.

    >>> _two_lines("winning_ticket")
    'winning\nticket'
    """
    cuts = [i for i, letter in enumerate(arm) if letter == "_"]
    if not cuts:
        return f"\n{arm}"
    cut = min(cuts, key=lambda i: abs(i - len(arm) / 2))
    return f"{arm[:cut]}\n{arm[cut + 1 :]}".replace("_", " ")


def _fitting(widths: Mapping[str, int], width: int) -> list[list[str]]:
    """Cut arms of these widths into groups that fit."""
    groups: list[list[str]] = []
    for arm, own in widths.items():
        if not groups or sum(widths[a] for a in groups[-1]) + own > width:
            groups.append([])
        groups[-1].append(arm)
    return groups


def _table(summaries: dict[Cell, Summary], arms: Sequence[str], what: Judged, wide: bool) -> Table:
    lr = next(iter(summaries)).lr
    trials = max((s.values[EARLY].n for s in summaries.values() if s.values), default=0)
    table = plain_table(
        f"lr {lr:g}: early stop, {what.words} then and at the end"
        + ("; mean, min-max" if trials > 1 else "")
    )
    repeats = _repeats(summaries, arms)
    first = ["\n\ndensity", *[f"\n\n{LEVEL.strip()}"] * repeats]
    for head in (*first, *(head for arm in arms for head in _heads(arm, what))):
        table.add_column(head, justify="right", no_wrap=True)
    for level in sorted({c.level for c in summaries}):
        row = [summaries.get(Cell(lr, arm, level)) for arm in arms]
        if densities := [_percent(s.density) for s in row if s is not None]:
            texts = (text for s in row for text in _values(s, what, wide))
            table.add_row(densities[0], *[str(level)] * repeats, *texts)
    return table


def plain_table(title: str) -> Table:
    """Return an empty table as all of this package's look."""
    return Table(
        title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, padding=0,
        show_edge=False,
    )  # fmt: skip


def _percent(density: float) -> str:
    """Write a density so that the points of a column stand in line."""
    return f"{100 * density:.1f} %" if density >= 0.001 else f"{100 * density:.2g} %"


def _values(summary: Summary | None, what: Judged, wide: bool) -> list[str]:
    if summary is None:
        return [""] * 3
    if not summary.values:
        return ["diverged", "", ""]
    texts = [_text(name, summary, what, wide) for name in _columns(what)]
    if summary.diverged:
        texts[-1] += f"\n{summary.diverged}/{summary.members} diverged"
    return texts


def _text(name: str, summary: Summary, what: Judged, wide: bool) -> str:
    """Write a mean and its range, with as many digits: or it could be printed outside its range."""
    if name not in summary.values:
        return ""  # it was not measured
    mean, low, high, _, n = summary.values[name]
    middle, *ends = (f"{v:.0f}" if name == EARLY else what.text(v) for v in (mean, low, high))
    if n == 1:
        return middle
    between = "-".join(ends)
    return f"{middle} [dim]({between})[/dim]" if wide else f"{middle}\n[dim]{between}[/dim]"

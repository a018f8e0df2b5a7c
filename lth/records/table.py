"""The table: one row per level; per arm, mean and range over trials.

Arms stand together where they have the same densities; an arm with others has a table of its own.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from lth.measured import Measured
from lth.records.intervals import grouped
from lth.records.judged import ACCURACY, Judged, judged
from lth.records.levels import shown_levels
from lth.records.record import Record
from lth.records.statistics import EARLY, Cell, Summary, percent, summarise

LEVEL = " level"
"""Head of a column that tells rows of one density apart."""


class Look(NamedTuple):
    """What is shown of an arm: ranges beside means, below, or not; values at the end or not."""

    what: Judged
    ranges: str = "below"
    end: bool = True

    @property
    def columns(self) -> dict[str, str]:
        """The head of every value of an arm."""
        what, unit = self.what, " %" * self.what.share
        early = "early stop" if self.end else "early\nstop"
        at_end = {what.end: f"at end{unit}"} if self.end else {}
        return {EARLY: early, what.name: f"{what.split}{unit}", **at_end}


def tables(
    records: Iterable[Record], width: int = 80, measured: Measured = ACCURACY, full: bool = True
) -> list[Table]:
    """Return a table per learning rate, cut into several where the arms do not fit ``width``.

    Of some levels, or all (``full``).
    """
    records = list(records)
    what, shown = judged(records, measured), list[Table]()
    some = {} if full else shown_levels(records, measured)
    for lr, summaries in grouped(summarise(records).values(), lambda s: s.cell.lr).items():
        levels = {s.cell.level for s in summaries}
        rows = set(some.get(lr, levels))
        own = {s.cell: s for s in summaries if s.cell.level in rows}
        look = _look(own, width, what, full)
        made = _of_rate(own, width, look)
        made[0].title = _title(lr, summaries, look, (len(rows), len(levels)))
        shown += made
    return shown


def _look(own: dict[Cell, Summary], width: int, what: Judged, full: bool) -> Look:
    """Choose what is shown of an arm: the most with which all arms fit, of a short table less.

    A full table has all as long as one arm fits.
    """
    left, arms = width - _density_width(own), list(dict.fromkeys(cell.arm for cell in own))
    looks = [Look(what, "beside"), Look(what), Look(what, end=False), Look(what, "", end=False)]
    for look in looks:
        widths = [_arm_width(own, arm, look) for arm in arms]
        enough = max(widths) if full and look.ranges == "below" else sum(widths)
        if enough <= left:
            return look
    return looks[-1]


def _density_width(own: dict[Cell, Summary]) -> int:
    return max(len("density"), *(len(percent(s.density)) for s in own.values()))


def _of_rate(own: dict[Cell, Summary], width: int, look: Look) -> list[Table]:
    left, shown = width - _density_width(own), list[Table]()
    for ladder in ladders(own):
        widths = {arm: _arm_width(own, arm, look) for arm in ladder}
        room = left - len(LEVEL) * _repeats(own, ladder)
        shown += [_table(own, arms, look) for arms in _fitting(widths, room)]
    return shown


def _title(lr: float, summaries: Sequence[Summary], look: Look, counts: tuple[int, int]) -> str:
    """Say what the columns are, and how many of the levels the rows are."""
    trials = max((s.values[EARLY].n for s in summaries if s.values), default=0)
    spread = "; mean" if trials > 1 else ""
    spread += ", min-max" if spread and look.ranges else ""
    part = (
        "" if counts[0] == counts[1] else f"; {counts[0]} of {counts[1]} levels (all: table=full)"
    )
    at_end = " and at the end" * look.end
    text = f"lr {lr:g}: early stop, {look.what.words} then{at_end}{spread}{part}"
    return text


def ladders(summaries: dict[Cell, Summary]) -> list[list[str]]:
    """Group the arms of a rate so that those of a group have one density, as printed, per level."""
    groups: list[tuple[dict[int, str], list[str]]] = []
    for arm, rows in grouped(summaries.values(), lambda s: s.cell.arm).items():
        own = {s.cell.level: percent(s.density) for s in rows}
        fits = (g for g in groups if all(g[0].get(n, text) == text for n, text in own.items()))
        levels, arms = next(fits, ({}, []))
        if not arms:
            groups.append((levels, arms))
        levels |= own
        arms.append(arm)
    return [arms for _, arms in groups]


def _repeats(summaries: dict[Cell, Summary], arms: Collection[str]) -> bool:
    """Whether levels of these arms, which share their densities, have one density."""
    levels = {c.level: percent(s.density) for c, s in summaries.items() if c.arm in arms}
    return len(set(levels.values())) < len(levels)


def render(
    records: Iterable[Record], width: int = 80, measured: Measured = ACCURACY, full: bool = True
) -> str:
    """Return the tables as text."""
    text = io.StringIO()
    console = Console(file=text, width=width)
    for table in tables(records, width, measured, full):
        console.print(table)
    return text.getvalue()


def _arm_width(summaries: dict[Cell, Summary], arm: str, look: Look) -> int:
    """Columns of the terminal that an arm takes."""
    rows = [_values(s, look) for c, s in summaries.items() if c.arm == arm]
    columns = zip(_heads(arm, look), *rows, strict=True)
    return sum(1 + max(_longest(text) for text in column) for column in columns)


def _longest(text: str) -> int:
    return max(map(len, text.replace("[dim]", "").replace("[/dim]", "").split("\n")))


def _heads(arm: str, look: Look) -> list[str]:
    """Return an arm's heads, its name above them, all as high."""
    heads = list(look.columns.values())
    high = max(head.count("\n") for head in heads)
    first, *others = ("\n" * (high - head.count("\n")) + head for head in heads)
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


def _table(summaries: dict[Cell, Summary], arms: Sequence[str], look: Look) -> Table:
    lr, table = next(iter(summaries)).lr, plain_table("")
    repeats = _repeats(summaries, arms)
    above = "\n" * _heads(arms[0], look)[0].count("\n")
    first = [f"{above}density", *[f"{above}{LEVEL.strip()}"] * repeats]
    for head in (*first, *(head for arm in arms for head in _heads(arm, look))):
        table.add_column(head, justify="right", no_wrap=True)
    for level in sorted({c.level for c in summaries}):
        row = [summaries.get(Cell(lr, arm, level)) for arm in arms]
        if densities := [percent(s.density) for s in row if s is not None]:
            texts = (text for s in row for text in _values(s, look))
            table.add_row(densities[0], *[str(level)] * repeats, *texts)
    return table


def fitting(
    columns: Mapping[str, Sequence[str]], room: int, leaving: Sequence[str]
) -> dict[str, Sequence[str]]:
    """Return the columns, by head, that stand in so much room, once some that may leave it have."""
    kept = dict(columns)
    for head in leaving:
        if sum(1 + _widest([head, *cells]) for head, cells in kept.items()) <= room:
            break
        kept.pop(head, None)
    return kept


def _widest(cells: Iterable[str]) -> int:
    return max((len(line) for cell in cells for line in cell.split("\n")), default=0)


def plain_table(title: str) -> Table:
    """Return an empty table as all of this package's look."""
    return Table(
        title=title or None, title_justify="left", title_style="", box=box.SIMPLE_HEAD, padding=0,
        show_edge=False,
    )  # fmt: skip


def _values(summary: Summary | None, look: Look) -> list[str]:
    if summary is None:
        return [""] * len(look.columns)
    if not summary.values:
        return ["diverged", *[""] * (len(look.columns) - 1)]
    texts = [_text(name, summary, look) for name in look.columns]
    if summary.diverged:
        texts[-1] += f"\n{summary.diverged}/{summary.members} diverged"
    return texts


def _text(name: str, summary: Summary, look: Look) -> str:
    """Write a mean and its range, with as many digits: or it could be printed outside its range."""
    if name not in summary.values:
        return ""  # it was not measured
    write = "{:.0f}".format if name == EARLY else look.what.text
    mean, low, high, _, n = summary.values[name]
    if n == 1:
        return write(mean)
    between = f"{write(low)}-{write(high)}"
    shown = {"beside": f" [dim]({between})[/dim]", "below": f"\n[dim]{between}[/dim]"}
    return write(mean) + shown.get(look.ranges, "")

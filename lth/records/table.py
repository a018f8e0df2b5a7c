"""The table: one row per level; per arm, mean and range over trials.

Arms stand together where they have the same densities; an arm with others has a table of its own.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from lth.records.record import Record
from lth.records.statistics import EARLY, Cell, Summary, summarise

MEASURES = ((EARLY, "early stop"), ("test_accuracy", "test %"), ("test_accuracy_end", "at end %"))

LEVEL = " level"
"""Head of a column that tells rows of one density apart."""


def tables(records: Iterable[Record], width: int = 80) -> list[Table]:
    """Return a table per learning rate, cut into several where the arms do not fit ``width``."""
    summaries = summarise(records)
    found = []
    for lr in dict.fromkeys(cell.lr for cell in summaries):
        own = {c: s for c, s in summaries.items() if c.lr == lr}
        left = width - max(len("density"), *(len(_percent(s.density)) for s in own.values()))
        arms = list(dict.fromkeys(cell.arm for cell in own))
        wide = sum(_arm_width(own, arm, True) for arm in arms) <= left
        for ladder in ladders(own):
            widths = {arm: _arm_width(own, arm, wide) for arm in ladder}
            room = left - len(LEVEL) * _repeats(own, ladder)
            found += [_table(own, lr, arms, wide) for arms in _fitting(widths, room)]
    return found


def ladders(summaries: dict[Cell, Summary]) -> list[list[str]]:
    """Group the arms of a rate so that those of a group have one density, as printed, per level."""
    found: list[tuple[dict[int, str], list[str]]] = []
    for arm in dict.fromkeys(cell.arm for cell in summaries):
        own = {c.level: _percent(s.density) for c, s in summaries.items() if c.arm == arm}
        for levels, arms in found:
            if all(levels.get(level, text) == text for level, text in own.items()):
                levels |= own
                arms.append(arm)
                break
        else:
            found.append((own, [arm]))
    return [arms for _, arms in found]


def _repeats(summaries: dict[Cell, Summary], arms: Collection[str]) -> bool:
    """Whether levels of these arms, which share their densities, have one density."""
    levels = {c.level: _percent(s.density) for c, s in summaries.items() if c.arm in arms}
    return len(set(levels.values())) < len(levels)


def render(records: Iterable[Record], width: int = 80) -> str:
    """Return the tables as text."""
    text = io.StringIO()
    console = Console(file=text, width=width)
    for table in tables(records, width):
        console.print(table)
    return text.getvalue()


def _arm_width(summaries: dict[Cell, Summary], arm: str, wide: bool) -> int:
    """Columns of the terminal that an arm takes, ranges beside the means or below them."""
    rows = [_values(s, wide) for c, s in summaries.items() if c.arm == arm]
    columns = zip(_heads(arm), *rows, strict=True)
    return sum(1 + max(_longest(text) for text in column) for column in columns)


def _longest(text: str) -> int:
    return max(map(len, text.replace("[dim]", "").replace("[/dim]", "").split("\n")))


def _heads(arm: str) -> list[str]:
    names = [_two_lines(arm), *["\n"] * (len(MEASURES) - 1)]
    return [f"{name}\n{words}" for name, (_, words) in zip(names, MEASURES, strict=True)]


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
    found: list[list[str]] = []
    left = 0
    for arm, own in widths.items():
        left -= own
        if left < 0 or not found:
            found.append([])
            left = width - own
        found[-1].append(arm)
    return found


def _table(summaries: dict[Cell, Summary], lr: float, arms: Sequence[str], wide: bool) -> Table:
    trials = max((s.values[EARLY].n for s in summaries.values() if s.values), default=0)
    table = Table(
        title=f"lr {lr:g}: early stop, test accuracy then and at the end"
        + ("; mean, min-max" if trials > 1 else ""),
        title_justify="left", title_style="", box=box.SIMPLE_HEAD, padding=0,
        show_edge=False,
    )  # fmt: skip
    table.add_column("\n\ndensity", justify="right", no_wrap=True)
    repeats = _repeats(summaries, arms)
    if repeats:
        table.add_column(f"\n\n{LEVEL.strip()}", justify="right", no_wrap=True)
    for head in (head for arm in arms for head in _heads(arm)):
        table.add_column(head, justify="right", no_wrap=True)
    for level in sorted({c.level for c in summaries}):
        row = [summaries.get(Cell(lr, arm, level)) for arm in arms]
        if densities := [_percent(s.density) for s in row if s is not None]:
            texts = (text for s in row for text in _values(s, wide))
            table.add_row(densities[0], *[str(level)] * repeats, *texts)
    return table


def _percent(density: float) -> str:
    """Write a density so that the points of a column stand in line."""
    return f"{100 * density:.1f} %" if density >= 0.001 else f"{100 * density:.2g} %"


def _values(summary: Summary | None, wide: bool) -> list[str]:
    if summary is None:
        return [""] * len(MEASURES)
    if not summary.values:
        return ["diverged", "", ""]
    texts = [_text(name, summary, wide) for name, _ in MEASURES]
    if summary.diverged:
        texts[-1] += f"\n{summary.diverged}/{summary.members} diverged"
    return texts


def _text(name: str, summary: Summary, wide: bool) -> str:
    """Write a mean and its range, with as many digits: or it could be printed outside its range."""
    if name not in summary.values:
        return ""  # nothing was measured on test
    mean, low, high, _, n = summary.values[name]
    factor, digits = (1, 0) if name == EARLY else (100, 2)
    middle, *ends = (f"{factor * value:.{digits}f}" for value in (mean, low, high))
    if n == 1:
        return middle
    between = "-".join(ends)
    return f"{middle} [dim]({between})[/dim]" if wide else f"{middle}\n[dim]{between}[/dim]"

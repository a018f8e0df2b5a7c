"""The table: one row per level; per arm, mean and range over trials."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from lth.records import Record
from lth.statistics import EARLY, Cell, Summary, summarise

MEASURES = ((EARLY, "early stop"), ("test_accuracy", "test %"), ("test_accuracy_end", "at end %"))

DENSITY_WIDTH = 9


def tables(records: Iterable[Record], width: int = 80) -> list[Table]:
    """Return a table per learning rate, cut into several where the arms do not fit ``width``."""
    summaries = summarise(records)
    found = []
    for lr in dict.fromkeys(cell.lr for cell in summaries):
        arms = list(dict.fromkeys(cell.arm for cell in summaries if cell.lr == lr))
        wide = sum(_arm_width(arm, True) for arm in arms) <= width - DENSITY_WIDTH
        for together in _fitting(arms, wide, width - DENSITY_WIDTH):
            found.append(_table(summaries, lr, together, wide))
    return found


def render(records: Iterable[Record], width: int = 80) -> str:
    """Return the tables as text."""
    text = io.StringIO()
    console = Console(file=text, width=width)
    for table in tables(records, width):
        console.print(table)
    return text.getvalue()


def _arm_width(arm: str, wide: bool) -> int:
    """Columns of the terminal that an arm takes, ranges beside the means or below them."""
    name = max(map(len, _two_lines(arm).split("\n")))
    return max(name, 17) + 38 if wide else max(name, 10) + 22


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


def _fitting(arms: Sequence[str], wide: bool, width: int) -> list[list[str]]:
    found: list[list[str]] = []
    left = 0
    for arm in arms:
        left -= _arm_width(arm, wide)
        if left < 0 or not found:
            found.append([])
            left = width - _arm_width(arm, wide)
        found[-1].append(arm)
    return found


def _table(summaries: dict[Cell, Summary], lr: float, arms: Sequence[str], wide: bool) -> Table:
    trials = max((s.values[EARLY].n for s in summaries.values() if s.values), default=0)
    table = Table(
        title=f"lr {lr:g}: early stop, test accuracy then and at the end"
        + ("; mean, min-max" if trials > 1 else ""),
        title_justify="left", title_style="", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
        show_edge=False,
    )  # fmt: skip
    table.add_column("\n\ndensity", justify="right", no_wrap=True)
    for arm in arms:
        for number, (_, words) in enumerate(MEASURES):
            head = f"{_two_lines(arm) if number == 0 else chr(10)}\n{words}"
            table.add_column(head, justify="right", no_wrap=True)
    for level in sorted({c.level for c in summaries if c.lr == lr}):
        row = [summaries.get(Cell(lr, arm, level)) for arm in arms]
        densities = [s.density for s in row if s is not None]
        if densities:
            texts = (text for s in row for text in _values(s, wide))
            table.add_row(_percent(densities[0]), *texts)
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
    mean, low, high, _, n = summary.values[name]
    if name == EARLY:
        middle, ends = f"{mean:.0f}", f"{low:.0f}-{high:.0f}"
    else:
        middle, ends = f"{100 * mean:.2f}", f"{100 * low:.1f}-{100 * high:.1f}"
    if n == 1:
        return middle
    return f"{middle} [dim]({ends})[/dim]" if wide else f"{middle}\n[dim]{ends}[/dim]"

"""The live view in a terminal: bars, the last level's values, and the verdict so far."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

FIRM = "\u00a0"
"""A space that no line is broken at."""

LINES = 14
"""Lines of text below the bars, at most: the view must fit the screen."""


class View(Progress):
    """Bars, and below them lines; as much of both as the terminal has room for."""

    def __init__(self, console: Console, live: bool) -> None:
        self.lines: Sequence[str] = ()
        self.terminal = console  # asked for while the parent is still being made
        super().__init__(*columns(console.width), console=console, disable=not live)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is drawn, anew at every refresh: the terminal may have been resized."""
        self.columns = columns(self.terminal.width)
        yield self.make_tasks_table(self.tasks)
        room = min(LINES, max(1, self.terminal.height - len(self.tasks) - 2))
        for line in self.lines:
            rows = wrapped(line, max(10, self.terminal.width - 2), "").split("\n")
            yield from (Text(f"  {row}") for row in rows[:room])
            room -= len(rows)
            if room <= 0:
                return


def columns(width: int) -> tuple[ProgressColumn, ...]:
    """Return the columns of the bars that fit: a bar, a share and times go first."""
    what, count, left = (
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    if width < 50:
        return what, count, left
    if width < 76:
        return what, BarColumn(10), count, TextColumn("left"), left
    bar = BarColumn(min(40, width - 56))
    return (
        what, bar, count, TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left"), left,
    )  # fmt: skip


def wrapped(text: str, width: int, hanging: str = "  ") -> str:
    r"""Wrap a line between words, but not between a number and its sign.

    >>> wrapped("down to 51.2 % of it", 13)
    'down to\n  51.2 % of\n  it'
    """
    whole = textwrap.fill(
        text.replace(" %", FIRM + "%"), width, subsequent_indent=hanging, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return whole.replace(FIRM, " ") or text

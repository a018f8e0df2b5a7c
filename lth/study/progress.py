"""What a study shows while it goes: a live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from rich.console import Console
from rich.progress import TaskID
from rich.table import Table
from rich.text import Text

from lth.imp import Cohort, Experiment
from lth.moves.phases import levels_of
from lth.study.pulse import Pace, Pulse, members_at
from lth.study.view import View, wrapped
from lth.train.job import Job
from lth.train.options import Listener

T = TypeVar("T")

PROSE = 96
"""Columns of a paragraph, at most."""


class Display(Listener):
    """Listens to a study and shows how far it is."""

    def __init__(self, console: Console, enabled: bool = True) -> None:
        self.console, self.enabled = console, enabled
        self.live = enabled and console.is_terminal and not console.is_dumb_terminal
        self._view = View(console, self.live)
        self._pulse = Pulse(self._tell) if enabled and not self.live else None
        self._pace = Pace()
        self._steps: dict[str, int] = {}
        self._training: dict[str, tuple[Job, int]] = {}
        self._route: Sequence[int] = ()
        self._level = 0
        self._head = ""
        self._budget_bar: TaskID | None = None
        self._bar: TaskID | None = None
        self._counted: TaskID | None = None  # the bar that a log tells of
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        """Begin the live view, or to say something now and then."""
        self._view.start()
        if self._pulse is not None:
            self._pulse.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """End it; the bars stay, what is below them comes again in the table and the verdict."""
        if self._pulse is not None:
            self._pulse.stop()
        self._view.lines = ()
        self._view.stop()

    def begin(self, what: str, total: int) -> None:
        """Show one bar: so many things to go through."""
        self._bar = self._counted = self._view.add_task(what, total=total)

    def advance(self) -> None:
        """One of them is done."""
        if self._bar is not None:
            self._view.advance(self._bar)

    def weighing(self, count: int) -> None:
        """Budgets of so many members are to be measured; 0: all are."""
        if self._budget_bar is not None:
            self._view.remove_task(self._budget_bar)
        added = self._view.add_task("budgets", total=count) if count else None
        self._budget_bar = self._counted = added

    def weighed(self) -> None:
        """One of them is."""
        if self._budget_bar is not None:
            self._view.advance(self._budget_bar)

    def study(self, parts: Experiment, steps: int) -> None:
        """A study begins: the most it may have to train."""
        self._route, copies = parts.route, _copies(parts)
        at_level = {n: copies if n in parts.levels else 1 for n in self._route}
        most = Counter({n: c * steps for n, c in at_level.items()})
        for method in parts.methods.values():
            most.update(dict.fromkeys(levels_of(method, parts), sum(method.lengths)))
        self._most = {n: updates * len(parts.lines) for n, updates in most.items()}
        self._bar = self._view.add_task("levels", total=len(self._route) + 1)
        self._step_bar = self._view.add_task("steps", total=None)

    def level(self, cohort: Cohort, missing: Sequence[Job], reused: int) -> None:
        """A level begins: these jobs are to train, so many members are in the store."""
        self._level = max(place.level for place in cohort)
        self._steps = {job.key: job.ticket.step for job in missing}
        self._training = {job.key: (job, job.ticket.step) for job in missing}
        self._pace.begin()
        done = sum(level < self._level for level in [0, *self._route])
        if self._bar is not None:
            self._view.update(self._bar, completed=done)
        self._head = f"level {self._level}: {len(missing)} to train, {reused} in the store"
        self._view.lines = [self._head, *self._view.lines[1:]]
        after = sum(most for level, most in self._most.items() if level > self._level)
        self._pace.total = self._pace.done + sum(job.steps for job in missing) + after
        self._view.update(self._step_bar, total=self._pace.total)

    def step(self, job: Job, step: int, done: bool) -> None:
        """A member has reached ``step``; a diverged one has no more to do."""
        reached = job.last if done else step
        made, self._steps[job.key] = reached - self._steps[job.key], reached
        self._training.pop(job.key, None)
        if not done:
            self._training[job.key] = job, reached
        self._pace.made(made)
        self._view.update(self._step_bar, advance=made)

    def ended(self, summary: str, verdict: Callable[[], Sequence[str]] = tuple) -> None:
        """A level has ended: what it gave, and what may be said so far where that is shown."""
        last, self._steps = max(self._route, default=0), {}
        if self.live:
            so_far = [f"so far: {line}" for line in verdict()]
            self._view.lines = [self._head, f"level {self._level}: {summary}", *so_far]
        else:
            seconds = time.monotonic() - self._begun
            self._say_now(f"level {self._level:>2}/{last}  {summary}  {seconds:.0f} s")

    def over(self) -> None:
        """The study has ended."""
        if self._bar is not None:
            self._view.update(self._bar, completed=len(self._route) + 1)
        self._view.update(self._step_bar, total=self._pace.done)

    def note(self, text: str) -> None:
        """Something the user should know."""
        self._say_now(text, "yellow")

    def say(self, content: Any, style: str = "") -> None:
        """Print for the user: text as it is, or a table."""
        if not self.enabled:
            return
        if isinstance(content, Table) and isinstance(content.title, str):
            self.tell(content.title)  # rich would wrap it to the table's width
            content.title = None
        if isinstance(content, str):
            self._say_now(content, style)
        else:
            self.console.print(content, highlight=False)

    def tell(self, text: str, style: str = "") -> None:
        """Print a paragraph, wrapped between words wherever it goes."""
        self.say(wrapped(text, min(PROSE, self.console.width)), style)

    def _say_now(self, text: str, style: str = "") -> None:
        """Print lines; in a terminal wrapped between words, unless that would break a path."""
        if not self.enabled:
            return
        if self._pulse is not None:
            self._pulse.said()
        width = self.console.width
        for line in text.split("\n"):
            if self.console.is_terminal and all(len(word) < width for word in line.split()):
                line = wrapped(line, width)
            self.console.print(Text(line, style), soft_wrap=True)

    def _tell(self) -> None:
        """Say how far the level is, where nothing has been said for long."""
        bars = {task.id: task for task in self._view.tasks}
        if self._counted is not None and self._counted in bars:
            bar = bars[self._counted]
            of = f" of {bar.total:,.0f}" if bar.total else ""
            self._say_now(f"{bar.description}: {bar.completed:,.0f}{of}")
        elif self._steps:
            listed = list(self._training.values())
            moved = [(job, at) for job, at in listed if at > job.ticket.step] or listed
            now = [(job.about.get("place", {}), at, job.last) for job, at in moved]
            where = f"level {self._level:>2}/{max(self._route, default=0)}"
            parts = [where, members_at(now) if now else "", self._pace.words]
            self._say_now("  ".join(filter(None, parts)))


def _copies(parts: Experiment) -> int:
    others = sum(copies for name, (_, copies) in parts.arms.items() if name != "winning_ticket")
    return 1 + others


def teller(display: Display) -> Callable[[str], None]:
    """Return what tells of a loss: a line, or a warning where nothing is displayed."""
    return display.note if display.enabled else warnings.warn


def attempt(what: str, call: Callable[[], T], otherwise: T, display: Display) -> T:
    """Return what ``call`` gives; where it fails, say so in a line: what is trained is safe."""
    from lth.results.figures import said

    try:
        return call()
    except Exception as error:
        teller(display)(f"{what}: left out ({said(error)}); the records are complete")
        return otherwise

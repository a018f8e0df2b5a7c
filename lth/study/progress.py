"""The live display of a study: levels, steps, time left; plain lines where there is no terminal."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lth.imp import Cohort, Experiment
from lth.moves.phases import levels_of
from lth.train.job import Job
from lth.train.options import Listener

T = TypeVar("T")


class Display(Listener):
    """Listens to a study and shows how far it is."""

    def __init__(self, console: Console, enabled: bool = True) -> None:
        self.console, self.enabled = console, enabled
        self._live = enabled and console.is_terminal
        columns = (
            TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(),
            TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        self._progress = Progress(*columns, console=console, disable=not self._live)
        self._steps: dict[str, int] = {}
        self._level = self._done = 0
        self._budget_bar: TaskID | None = None
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        """Begin the live display."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """End it."""
        self._progress.stop()

    def begin(self, what: str, total: int) -> None:
        """Show one bar: so many things to go through."""
        self._bar = self._progress.add_task(what, total=total, note="")

    def advance(self) -> None:
        """One of them is done."""
        self._progress.advance(self._bar)

    def weighing(self, count: int) -> None:
        """Budgets of so many members are to be measured; 0: all are."""
        if self._budget_bar is not None:
            self._progress.remove_task(self._budget_bar)
        added = self._progress.add_task("budgets", total=count, note="") if count else None
        self._budget_bar = added

    def weighed(self) -> None:
        """One of them is."""
        if self._budget_bar is not None:
            self._progress.advance(self._budget_bar)

    def study(self, parts: Experiment, steps: int) -> None:
        """A study begins: the most it may have to train."""
        self._route, copies = parts.route, _copies(parts)
        at_level = {n: copies if n in parts.levels else 1 for n in self._route}
        most = Counter({n: c * steps for n, c in at_level.items()})
        for method in parts.methods.values():
            most.update(dict.fromkeys(levels_of(method, parts), sum(method.lengths)))
        self._most = {n: updates * len(parts.lines) for n, updates in most.items()}
        self._bar = self._progress.add_task("levels", total=len(self._route) + 1, note="")
        self._step_bar = self._progress.add_task("steps", total=None, note="")

    def level(self, cohort: Cohort, missing: Sequence[Job], reused: int) -> None:
        """A level begins: these jobs are to train, so many members are in the store."""
        self._level = max(place.level for place in cohort)
        self._steps = {job.key: job.ticket.step for job in missing}
        self._progress.update(
            self._bar,
            completed=sum(level < self._level for level in [0, *self._route]),
            note=f"{len(missing)} to train, {reused} in the store",
        )
        after = sum(most for level, most in self._most.items() if level > self._level)
        total = self._done + sum(job.steps for job in missing) + after
        self._progress.update(self._step_bar, total=total)

    def step(self, job: Job, step: int, done: bool) -> None:
        """A member has reached ``step``; a diverged one has no more to do."""
        reached = job.last if done else step
        made, self._steps[job.key] = reached - self._steps[job.key], reached
        self._done += made
        self._progress.update(self._step_bar, advance=made)

    def ended(self, summary: str) -> None:
        """A level has ended."""
        if self.enabled and not self._live:
            seconds = time.monotonic() - self._begun
            last = max(self._route, default=0)
            self.console.print(f"level {self._level:>2}/{last}  {summary}  {seconds:.0f} s")

    def over(self) -> None:
        """The study has ended."""
        self._progress.update(self._bar, completed=len(self._route) + 1, note="")
        self._progress.update(self._step_bar, total=self._done)

    def note(self, text: str) -> None:
        """Something the user should know."""
        if self.enabled:
            self.console.print(text, style="yellow", highlight=False, soft_wrap=True)

    def say(self, *content: Any) -> None:
        """Print for the user."""
        if self.enabled:
            self.console.print(*content, highlight=False, soft_wrap=True)


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

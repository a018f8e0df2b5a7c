"""Who shows a call's progress: the terminal, a line that moves in a notebook, or nobody."""

from __future__ import annotations

import html
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console

from lth.imp import Cohort, Experiment
from lth.study.progress import Display
from lth.train.job import Job

PAUSE = 0.25
"""Seconds between two looks of a notebook's line, at least."""

STYLE = "margin:0;padding:0;white-space:pre-wrap;font-size:90%;line-height:1.35;border:0"


class Quiet(Display):
    """Hears everything, prints nothing: ``notes`` are the warnings, ``text`` all that was said."""

    def __init__(self, width: int = 100) -> None:
        self._said = io.StringIO()
        plain = {"force_terminal": False, "force_jupyter": False, "color_system": None}
        super().__init__(Console(file=self._said, width=width, **plain))  # type: ignore[arg-type]
        self.notes: list[str] = []

    @property
    def text(self) -> str:
        """What a terminal would have shown."""
        return self._said.getvalue().strip("\n")

    def note(self, text: str) -> None:
        """Something the user should know."""
        super().note(text)
        if text not in self.notes:
            self.notes.append(text)


class Notebook(Quiet):
    """One output of a cell that moves: bars, the last level's values, and the notes beneath.

    What a terminal would show lies folded in it. ``show`` makes such an output from a bundle of
    MIME types and returns what updates it.
    """

    def __init__(self, show: Callable[[dict[str, str]], Callable[[dict[str, str]], None]]) -> None:
        super().__init__()
        self._show, self._update = show, None
        self._line, self._shown, self._ended = "", 0.0, False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """End it."""
        super().__exit__(kind, error, at)
        self._ended = error is None
        self._look(now=True)

    def study(self, parts: Experiment, steps: int) -> None:
        """A study begins."""
        super().study(parts, steps)
        self._ended = False
        self._look(now=True)

    def level(self, cohort: Cohort, missing: Sequence[Job], reused: int) -> None:
        """A level begins."""
        super().level(cohort, missing, reused)
        self._look()

    def step(self, job: Job, step: int, done: bool) -> None:
        """A member has reached ``step``."""
        super().step(job, step, done)
        self._look()

    def advance(self) -> None:
        """One thing of many is done."""
        super().advance()
        self._look()

    def weighed(self) -> None:
        """One network is weighed."""
        super().weighed()
        self._look()

    def ended(self, summary: str, verdict: Callable[[], Sequence[str]] = tuple) -> None:
        """A level has ended."""
        super().ended(summary, verdict)
        self._line = f"level {self._level}: {' '.join(summary.split())}"
        self._look(now=True)

    def note(self, text: str) -> None:
        """Something the user should know."""
        super().note(text)
        self._look(now=True)

    def say(self, content: Any, style: str = "") -> None:
        """Print for the user: folded away, since what is returned shows the same."""
        super().say(content, style)
        self._look()

    def close(self) -> None:
        """Show the last of it."""
        self._look(now=True)

    def _look(self, now: bool = False) -> None:
        if not now and time.monotonic() - self._shown < PAUSE:
            return
        bundle = {"text/plain": self._plain(), "text/html": self._html()}
        if self._update is None:
            self._update = self._show(bundle)
        else:
            self._update(bundle)
        self._shown = time.monotonic()

    def _bars(self) -> list[tuple[str, float, float, str]]:
        """Return name, done, total and note of every bar; none once all is done."""
        tasks = [] if self._ended else [t for t in self._view.tasks if t.total]
        last = {t.description: t for t in tasks}  # lth.fit goes through many studies
        return [
            (name, t.completed, t.total or 1.0, str(t.fields.get("note", "")))
            for name, t in last.items()
        ]

    def _lines(self) -> list[str]:
        last = self.text.rpartition("\n")[2] if self._ended else ""
        last = last if any(map(str.isalnum, last)) else ""  # a table's frame says nothing
        return list(dict.fromkeys(filter(None, [self._line, *self.notes, last])))

    def _plain(self) -> str:
        bars = [f"{name} {done:,.0f}/{total:,.0f}" for name, done, total, _ in self._bars()]
        return "\n".join(filter(None, [", ".join(bars), *self._lines()]))

    def _html(self) -> str:
        parts = [
            f"{name:<8}<progress style='width:14em' value='{done:.0f}' max='{total:.0f}'>"
            f"</progress> {done:,.0f}/{total:,.0f}  {html.escape(note)}"
            for name, done, total, note in self._bars()
        ]
        parts += [html.escape(line) for line in self._lines()]
        shown = f"<pre style='{STYLE}'>" + "\n".join(parts) + "</pre>"
        if self.text:
            shown += (
                "<details style='font-size:90%'><summary>what a terminal shows</summary>"
                f"<pre style='{STYLE}'>{html.escape(self.text)}</pre></details>"
            )
        return shown


class _Output:
    """An output of a notebook's cell, updated in place."""

    def __init__(self, bundle: dict[str, str]) -> None:
        from IPython.display import DisplayHandle, display

        handle = display(bundle, raw=True, display_id=True)
        assert isinstance(handle, DisplayHandle)
        self._handle = handle

    def __call__(self, bundle: dict[str, str]) -> None:
        self._handle.update(bundle, raw=True)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook; nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


@contextmanager
def shown(progress: bool, otherwise: Display | None = None) -> Iterator[Display]:
    """Give what shows a call: the terminal's display, in a notebook one output that moves.

    Without ``progress`` it is ``otherwise``, or what shows nothing.
    """
    if not progress:
        yield otherwise or Display(Console(), enabled=False)
        return
    if not in_notebook():
        yield Display(Console())
        return
    display = Notebook(_Output)
    try:
        yield display
    finally:
        display.close()

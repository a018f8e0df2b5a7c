"""The run of a study: rows and charts as levels end, values on the way, a summary at the end."""

from __future__ import annotations

import os
import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lth.loggers import panels
from lth.loggers.look import Look
from lth.loggers.memory import Memory
from lth.loggers.weights_and_biases import media
from lth.loggers.weights_and_biases.opening import AS_ASKED, Asked, open_run, possible_mode
from lth.measured import Measured, measured_of
from lth.records.budget import weighed
from lth.records.record import COLUMNS, Record
from lth.records.statistics import without_diverged
from lth.records.verdict import verdict

if TYPE_CHECKING:
    from wandb import Run

CHARTS_EVERY = 120.0
"""Seconds between charts while a study goes on: each leaves a file."""


class WandbLogger:
    """One run per study: what ``wandb_logger`` makes."""

    def __init__(self, asked: Asked, tickets: bool = False) -> None:
        self.asked, self.tickets = asked, tickets
        self._run: Run | None = None

    def run_key(self) -> str:
        """Name the run that the environment asks for, a sweep's agent say."""
        names = ("WANDB_SWEEP_ID", "WANDB_RUN_ID")
        return "/".join(os.environ[n] for n in names if n in os.environ)

    def unseen(self) -> str:
        """Say why a run would be kept offline unasked, "" where it would not."""
        mode, why = possible_mode(self.asked.init.get("mode"))
        return why if mode == "offline" and why != AS_ASKED else ""

    def start(
        self, name: str, group: str | None, config: dict[str, Any], folder: Path
    ) -> list[str]:
        """Open the run; say at once where it is kept if that is not on a server."""
        self._measured: Measured = measured_of(config)
        self._records: list[Record] = []
        self._curves: list[Record] = []
        self._layers: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._defined: set[str] = set()
        self._drawn = time.monotonic()
        self._run, why = open_run(self.asked, name, group, config, folder)
        if self._run.disabled:
            return []
        own = Path(self._run.settings.wandb_dir)
        there = self._run.step if self._run.resumed else 0
        self._memory = Memory(own / f"told-{self._run.id}.json", upto=there)
        if not why:
            return []
        later = f"wandb sync {shlex.quote(str(self._run.settings.sync_dir))}"
        return [f"wandb: offline ({why}); to upload it later: {later}"]

    def log(self, records: Sequence[Record], curves: Sequence[Record]) -> None:
        """Log the rows of a level, and its learning curves as means over trials."""
        self._records += records
        self._curves += curves
        for row in panels.level_rows(records, self._several, self._measured):
            self._log(row)
        for row in panels.curve_rows(without_diverged(curves, records), self._several):
            self._log(row)
        if time.monotonic() - self._drawn > CHARTS_EVERY:
            self._chart()
        self._keep()

    def live(self, updates: int, values: Mapping[str, float]) -> None:
        """Log what has just been measured, against the updates made so far."""
        if not self._open:
            return
        self._memory.updates = self._memory.begun + updates
        row = {"live/updates": self._memory.updates} | {f"live/{n}": v for n, v in values.items()}
        self._define(*row)
        self._log_row(row)

    def look(self, level: int, density: float, at: Callable[[], Look | None]) -> None:
        """Log the density of every layer, the weights that are kept, and the masks."""
        about = {"level": level, "density": density}
        if not self._open or not (found := at()):
            return
        for name, share in found.layers.items():
            self._layers[name].append((density, share))
        if not self._is_new({"look": True} | about):
            return
        layers = {f"layers/{name}": share for name, share in found.layers.items()}
        self._define(*about, *layers)
        self._log_row(about | layers | media.of_look(found))

    def pictures(
        self, section: str, figures: Sequence[Path], tables: Mapping[str, Path] | None = None
    ) -> None:
        """Log figures as one panel, and tables of CSV files as one each."""
        if self._open and figures:
            self._log_row({section: media.images(figures)})
        for name, path in (tables or {}).items() if self._open else ():
            self._log_row({f"{section}/{name}": media.table_of(path)})

    def finish(
        self,
        records: Sequence[Record],
        curves: Sequence[Record],
        figures: Sequence[Path],
        tickets: Sequence[Path] = (),
    ) -> list[str]:
        """Log charts, tables, figures and, if asked, the tickets; say where the run is."""
        run = self._run
        if run is None:
            return []
        if records:
            self._records, self._curves = list(records), list(curves)
            self._chart()
            self._conclude(run)
            self._log_row(media.tables(self._records, self._measured, COLUMNS))
        self.pictures("figures", figures)
        if self.tickets and tickets:
            run.log_artifact(media.ticket_artifact(f"{run.name}-tickets", tickets))
        self._keep()
        self._run = None
        return _where(run, len(records)) + _close(run)

    def abort(self) -> None:
        """Close the run as failed; what was logged stays."""
        run, self._run = self._run, None
        if run is not None:
            run.finish(exit_code=1)

    @property
    def _open(self) -> bool:
        return self._run is not None and not self._run.disabled

    @property
    def _several(self) -> bool:
        return len({r.lr for r in self._records}) > 1

    def _log(self, row: panels.Row) -> None:
        if self._open and self._is_new(row):
            self._define(*row)
            self._log_row(row)

    def _is_new(self, row: Mapping[str, Any]) -> bool:
        assert self._run is not None
        return self._memory.is_new(row, self._run.step)

    def _log_row(self, row: Mapping[str, Any]) -> None:
        if self._run is not None:
            self._run.log(dict(row))

    def _define(self, *names: str) -> None:
        """Say what each value is drawn against, and hide what has no panel by itself."""
        assert self._run is not None
        for name in (n for n in names if n not in self._defined):
            hidden = not panels.is_shown(name, self._records, self._measured)
            axis = panels.axis_of(name)
            about: dict[str, Any] = {} if axis is None else {"step_metric": axis}
            self._run.define_metric(name, hidden=hidden or None, step_sync=False, **about)
            self._defined.add(name)

    def _chart(self) -> None:
        """Log the charts that lay arms and layers over one another."""
        if not self._open:
            return
        self._drawn = time.monotonic()
        found = panels.charts(self._records, self._curves, self._several, self._measured)
        if self._layers:
            found["layers"] = panels.Chart(
                "density of each layer of the winning ticket", "density", dict(self._layers)
            )
        self._log_row({f"charts/{name}": media.lines(chart) for name, chart in found.items()})

    def _conclude(self, run: Run) -> None:
        """Put verdict and budgets into the summary, and the budgets into a chart."""
        run.summary["verdict"] = "\n".join(verdict(self._records, self._measured))
        if found := weighed(self._records):
            run.summary.update(panels.budget_summary(found, self._several))
            self._log_row({"charts/pareto": media.pareto(panels.budget_rows(found))})

    def _keep(self) -> None:
        if self._open:
            self._memory.keep()


def _where(run: Run, rows: int) -> list[str]:
    if run.disabled:
        return []
    folder = run.settings.sync_dir
    upload = f"upload it with: wandb sync {shlex.quote(folder)}"
    lines = [f"wandb:   {folder} (offline)", f"         {upload}"]
    if not run.offline:
        lines = [f"wandb:   {run.url}"]
    if rows > media.TABLE_ROWS:
        lines.append(f"         its table has the first {media.TABLE_ROWS:,} of {rows:,} records")
    return lines


def _close(run: Run) -> list[str]:
    try:
        run.finish()
    except TimeoutError:
        folder = shlex.quote(run.settings.sync_dir)
        return [f"         not all of it is uploaded yet; the rest: wandb sync {folder}"]
    return []

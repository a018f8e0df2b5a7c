"""The Weights & Biases logger; offline by itself where there is no account or no network.

A logger must never cost a study: whatever goes wrong here becomes one warning.
"""

from __future__ import annotations

import os
import re
import shlex
import uuid
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lth.errors import LthError
from lth.records.budget import PREFIX, QUANTITIES, TEST, VALIDATION, Weighed, is_budget, weighed
from lth.records.record import COLUMNS, Record
from lth.records.statistics import Cell, curve_means, summarise, without_diverged

if TYPE_CHECKING:
    from wandb import Run

TABLE_ROWS = 200_000
"""What a table of wandb can hold."""

QUIET = {"console": "off", "silent": True, "x_disable_stats": True}
PATIENCE = {"init_timeout": 30.0, "finish_timeout": 300.0, "finish_timeout_raises": True}
"""Seconds until a server that does not answer is given up; the data stays on disk."""

Row = dict[str, float]

BUDGET_COLUMNS = (*QUANTITIES, VALIDATION, TEST)
"""What is told of a network's budget."""


class WandbLogger:
    """One run per study job: what ``wandb_logger`` makes."""

    def __init__(self, project: str, entity: str | None, mode: str | None, tickets: bool) -> None:
        self.project, self.entity, self.mode, self.tickets = project, entity, mode, tickets
        self.failed = False
        self._run: Run | None = None
        self._rates: set[float] = set()
        self._defined: set[str] = set()

    def start(self, name: str, group: str | None, config: dict[str, Any], folder: Path) -> None:
        """Open a run; its files lie in ``folder/wandb``."""
        self._rates, self._defined = set(), set()
        with self._guarded():
            about = {"name": name, "id": run_id(name), "resume": "allow", "dir": str(folder)}
            self._run = self._open(**about, group=group, config=config)

    def log(self, records: Sequence[Record], curves: Sequence[Record]) -> None:
        """Log a row per level, and the curves of its members as means over trials."""
        self._rates |= {r.lr for r in records}
        several = len(self._rates) > 1
        with self._guarded():
            for row in level_rows(records, several):
                self._log(row)
            for row in curve_rows(without_diverged(curves, records), several):
                self._log(row)

    def finish(
        self,
        records: Sequence[Record],
        curves: Sequence[Record],
        figures: Sequence[Path],
        tickets: Sequence[Path] = (),
    ) -> list[str]:
        """Log the table, the figures and, if asked, the tickets; say where the run is."""
        lines: list[str] = []
        with self._guarded():
            run = self._run
            if run is not None:
                self._log_files(run, records, figures, tickets if self.tickets else ())
                self._run = None
                lines = _where(run, len(records)) + _close(run)
        return lines

    def abort(self) -> None:
        """Close the run as failed; what was logged stays."""
        with self._guarded():
            run, self._run = self._run, None
            if run is not None:
                run.finish(exit_code=1)

    def _open(self, **about: Any) -> Run:
        import wandb

        os.makedirs(about["dir"], exist_ok=True)
        about |= {"project": self.project, "entity": self.entity, "reinit": "create_new"}
        settings = wandb.Settings(**QUIET, **PATIENCE)
        mode = _possible_mode(self.mode)
        if mode == "online":
            with suppress(wandb.Error):  # no network, or the key is refused: the record is kept
                return wandb.init(**about, mode="online", settings=settings)
            mode = "offline"
            about["id"] += f"-{uuid.uuid4().hex[:6]}"  # its service still holds the run it gave up
        return wandb.init(**about, mode=mode, settings=settings)

    def _log(self, row: Row) -> None:
        if self._run is not None:
            for name in row.keys() - self._defined:
                self._run.define_metric(name, **_axis(name))
                self._defined.add(name)
            self._run.log(row)

    def _log_files(
        self, run: Run, records: Sequence[Record], figures: Sequence[Path], tickets: Sequence[Path]
    ) -> None:
        import wandb

        self._log_budgets(run, records)
        rows: list[Any] = [list(r) for r in records[:TABLE_ROWS]]
        run.log({"records": wandb.Table(columns=list(COLUMNS), data=rows, allow_mixed_types=True)})
        if figures:
            run.log({f"figures/{path.stem}": wandb.Image(str(path)) for path in figures})
        if tickets:
            name = re.sub(r"[^\w.-]", "-", f"{run.name}-tickets")
            artifact = wandb.Artifact(name, type="ticket")
            root = os.path.commonpath([path.parent for path in tickets])
            for path in tickets:
                artifact.add_file(str(path), name=os.path.relpath(path, root))
            run.log_artifact(artifact)

    def _log_budgets(self, run: Run, records: Sequence[Record]) -> None:
        """Put the budgets into the summary, and all of them into one Pareto panel."""
        import wandb

        found = weighed(records)
        if not found:
            return
        run.summary.update(budget_summary(found, len(self._rates) > 1))
        names: list[Any] = ["network", "level", "phase", "density", *BUDGET_COLUMNS]
        table = wandb.Table(columns=names, data=budget_rows(found))
        title = "what the packed file tests at, against its bytes"
        run.log({"pareto": wandb.plot.scatter(table, "bytes", TEST, title=title)})

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            run, self._run, self.failed = self._run, None, True
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(f"wandb: {first}; the study goes on without it", stacklevel=3)
            if run is not None:
                with suppress(Exception):
                    run.finish(exit_code=1)


def wandb_logger(
    project: str = "lth",
    entity: str | None = None,
    mode: str | None = None,
    tickets: bool = False,
) -> WandbLogger:
    """Log to Weights & Biases.

    ``mode`` is online, offline or disabled; None leaves it to ``WANDB_MODE`` and the account.
    ``tickets`` also uploads the files of the tickets.
    """
    if mode not in (None, "online", "offline", "disabled"):
        raise LthError(f"logger.mode={mode}: it is one of online, offline, disabled, or null")
    return WandbLogger(project, entity, mode, tickets)


def run_id(study: str) -> str:
    """Return the id of a study's run: one that is gone on with is the same run.

    >>> run_id("lenet-digits-0a1b2c3d"), run_id("a name-0a1b2c3d")
    ('lenet-digits-0a1b2c3d', 'a-name-0a1b2c3d')
    """
    return re.sub(r"[^\w.-]", "-", study, flags=re.ASCII)[-64:]


def level_rows(records: Sequence[Record], several: bool) -> list[Row]:
    """Return a row per level: ``<arm>/density`` and the means over trials of the arm's values.

    With ``several`` learning rates the names begin with ``lr=<lr>/``.
    """
    rows: dict[int, Row] = defaultdict(dict)
    for cell, summary in summarise(r for r in records if not is_budget(r)).items():
        prefix = _prefix(cell, several)
        values = {name: spread.mean for name, spread in summary.values.items()}
        values |= {"density": summary.density, "diverged": summary.diverged}
        rows[cell.level] |= {prefix + name: value for name, value in values.items()}
    return [rows[level] for level in sorted(rows)]


def curve_rows(curves: Sequence[Record], several: bool) -> list[Row]:
    """Return a row per level and step: ``<arm>/L<level>/<split>_<metric>``, means over trials."""
    rows: dict[tuple[int, int], Row] = {}
    for moment, mean in curve_means(curves).items():
        row = rows.setdefault((moment.level, moment.step), {"step": moment.step})
        prefix = _prefix(Cell(moment.lr, moment.arm, moment.level), several)
        row[f"{prefix}L{moment.level}/{moment.split}_{moment.metric}"] = mean
    return [rows[key] for key in sorted(rows)]


def budget_rows(found: Sequence[Weighed]) -> list[Any]:
    """Return a row per network: its name, level, phase and density, and means over trials."""
    return [
        [w.spot.arm, w.spot.level, w.spot.phase, w.density, *(_known(w, n) for n in BUDGET_COLUMNS)]
        for w in found
    ]


def budget_summary(found: Sequence[Weighed], several: bool) -> dict[str, float]:
    """Return what each arm has come to: ``budget/<arm>/bytes`` of its last level and phase there.

    With ``several`` learning rates the arm is named ``lr=<lr>/<arm>``.
    """
    last: dict[str, Weighed] = {}
    for w in sorted(found, key=lambda w: (w.spot.level, w.spot.phase)):
        last[_prefix(Cell(*w.spot[:3]), several)] = w
    return {
        f"{PREFIX}{arm}{name}": value
        for arm, w in last.items()
        for name in BUDGET_COLUMNS
        if (value := _known(w, name)) is not None
    }


def _known(found: Weighed, name: str) -> float | None:
    return found.mean(name) if name in found.values else None


def _prefix(cell: Cell, several: bool) -> str:
    return f"lr={cell.lr:g}/{cell.arm}/" if several else f"{cell.arm}/"


def _axis(name: str) -> dict[str, Any]:
    """Return what a metric is drawn against: curves against step, the rest against density."""
    parent, _, last = name.rpartition("/")
    if last in ("step", "density"):
        return {"hidden": True}
    level = re.fullmatch(r"L\d+", parent.rpartition("/")[2])
    return {"step_metric": "step" if level else f"{parent}/density", "step_sync": False}


def _possible_mode(wanted: str | None) -> Any:
    """Return the mode, but offline instead of online where there is no account: never a prompt."""
    import wandb

    settings = wandb.setup().settings
    mode = wanted or settings.mode
    return "offline" if mode == "online" and not _has_account(settings) else mode


def _has_account(settings: Any) -> bool:
    from requests.utils import get_netrc_auth  # as wandb itself, it honours NETRC

    if settings.api_key or settings.identity_token_file:
        return True
    hosts = [settings.base_url]
    if settings.base_url == type(settings).model_fields["base_url"].default:
        hosts.append("https://api.wandb.ai")  # under which older versions stored the key
    return any(get_netrc_auth(host) for host in hosts)


def _where(run: Run, rows: int) -> list[str]:
    if run.disabled:
        return []
    folder = run.settings.sync_dir
    upload = f"upload it with: wandb sync {shlex.quote(folder)}"
    lines = [f"wandb:   {folder} (offline)", f"         {upload}"]
    if not run.offline:
        lines = [f"wandb:   {run.url}"]
    if rows > TABLE_ROWS:
        lines.append(f"         its table has the first {TABLE_ROWS:,} of {rows:,} records")
    return lines


def _close(run: Run) -> list[str]:
    try:
        run.finish()
    except TimeoutError:
        folder = shlex.quote(run.settings.sync_dir)
        return [f"         not all of it is uploaded yet; the rest: wandb sync {folder}"]
    return []

"""Any logger of Lightning's as a study's logger: ``pl.loggers.CSVLogger``, MLFlow, one's own.

What makes it is called when the study begins; it is told of rows with ``log_metrics``, of the
configuration with ``log_hyperparams``, of pictures where it has ``log_image``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lth.loggers import panels
from lth.measured import Measured, measured_of
from lth.records.record import Record
from lth.records.statistics import without_diverged
from lth.spec.build import build, locate, parameters_of, target_of
from lth.spec.plain import Spec

METHODS = ("log_metrics", "log_hyperparams", "finalize")
"""By what a logger of Lightning's is known: it has two packages, each with a class of that name."""


def is_lightnings(thing: Any) -> bool:
    """Whether a class or an object logs as Lightning's loggers do."""
    return all(callable(getattr(thing, name, None)) for name in METHODS)


class LightningLogger:
    """A study's logger that is one of Lightning's, made by ``make(folder)`` as the study begins."""

    def __init__(self, make: Callable[[Path], Any]) -> None:
        self._make, self._logger = make, None

    def start(self, name: str, group: str | None, config: dict[str, Any], folder: Path) -> None:
        """Make it, and tell it the configuration."""
        self._measured: Measured = measured_of(config)
        self._rates: set[float] = set()
        self._logger = self._make(folder)
        self._logger.log_hyperparams({"study": name, **config})

    def log(self, records: Sequence[Record], curves: Sequence[Record]) -> None:
        """Tell of a level's rows, its step the level; of curves at the steps of training."""
        self._rates |= {r.lr for r in records}
        several = len(self._rates) > 1
        for row in panels.level_rows(records, several, self._measured):
            self._metrics(row, int(row["level"]))
        for row in panels.curve_rows(without_diverged(curves, records), several):
            self._metrics(row, int(row.pop("step")))
        self._save()

    def live(self, updates: int, values: Mapping[str, float]) -> None:
        """Tell of what has just been measured."""
        self._metrics({f"live/{name}": value for name, value in values.items()}, updates)

    def pictures(
        self, section: str, figures: Sequence[Path], tables: Mapping[str, Path] | None = None
    ) -> None:
        """Hand figures to a logger that takes pictures."""
        take = getattr(self._logger, "log_image", None)
        if take is not None and figures:
            take(key=section, images=[str(path) for path in figures])

    def finish(
        self,
        records: Sequence[Record],
        curves: Sequence[Record],
        figures: Sequence[Path],
        tickets: Sequence[Path] = (),
    ) -> list[str]:
        """Hand over the figures and close; say where the logger keeps its files, if it does."""
        if self._logger is None:
            return []
        self.pictures("figures", figures)
        logger = self._close("success")
        place = None
        with suppress(Exception):  # not every logger has a place
            place = getattr(logger, "log_dir", None) or logger.save_dir
        return [f"{type(logger).__name__}: {place}"] if place else []

    def abort(self) -> None:
        """Close as failed."""
        if self._logger is not None:
            self._close("failed")

    def _metrics(self, row: Mapping[str, float], step: int) -> None:
        if self._logger is not None:
            self._logger.log_metrics(dict(row), step)

    def _save(self) -> None:
        save = getattr(self._logger, "save", None)
        if save is not None:
            save()

    def _close(self, how: str) -> Any:
        logger = self._logger
        assert logger is not None
        try:
            self._save()
        finally:
            self._logger = None
        logger.finalize(how)
        return logger


def from_lightning(spec: Spec) -> LightningLogger:
    """Make a study's logger of a spec of Lightning's, whose files go to the study's folder.

    Arguments that its class does not take are refused now, before any work.
    """
    target = target_of(spec)
    accepted = parameters_of(target, locate(target))

    def make(folder: Path) -> Any:
        given = {n: v for n, v in spec.items() if n != "save_dir" or v is not None}
        required = accepted["save_dir"] if "save_dir" in accepted else None
        if required is not None and given.get("save_dir", required.default) == required.default:
            given["save_dir"] = str(folder)
        return build(given)

    check_arguments(spec, accepted)
    return LightningLogger(make)


def check_arguments(spec: Spec, accepted: Mapping[str, inspect.Parameter]) -> None:
    """Refuse by name an argument that a factory does not take."""
    from lth.errors import LthError, nearest

    if any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        return
    for name in spec:
        if name not in accepted and not name.startswith("_"):
            raise LthError(
                f"logger.{name}: {target_of(spec)} takes no {name!r}{nearest(name, accepted)}"
            )

"""TensorBoard, by Lightning's own logger: scalars, charts of all arms, masks, weights, figures."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lth.errors import LthError
from lth.loggers.lightning import LightningLogger
from lth.loggers.look import Look, pictures_among
from lth.loggers.memory import Memory
from lth.records.record import Record
from lth.records.verdict import verdict


class TensorBoardLogger(LightningLogger):
    """What ``tensorboard_logger`` makes."""

    def load(self) -> None:
        """Import what it writes with."""
        import pytorch_lightning.loggers  # noqa: F401
        import torch.utils.tensorboard  # noqa: F401

    def start(self, name: str, group: str | None, config: dict[str, Any], folder: Path) -> None:
        """Open the folder; the charts follow when it is known which arms there are."""
        super().start(name, group, config, folder)
        self._shown: set[str] = set()
        assert self._logger is not None
        self._memory = Memory(Path(self._logger.log_dir) / "told.json")

    def log(self, records: Sequence[Record], curves: Sequence[Record]) -> None:
        """Log a level, and lay the arms seen so far over one another in one chart each."""
        super().log(records, curves)
        charts: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._shown):
            charts[name.split("/")[1]].append(name)
        layout = {"tickets": {what: ["Multiline", names] for what, names in charts.items()}}
        self._writer.add_custom_scalars(layout)
        self._memory.keep()

    def live(self, updates: int, values: Mapping[str, float]) -> None:
        """Tell of what has just been measured, after what an earlier command told."""
        self._memory.updates = self._memory.begun + updates
        super().live(self._memory.updates, values)

    def look(self, level: int, density: float, at: Callable[[], Look | None]) -> None:
        """Log the density of every layer, the weights that are kept, and the masks."""
        new = self._logger is not None and self._memory.is_new({"look": level, "at": density})
        if not new or not (found := at()):
            return
        self._metrics({f"layers/{name}": share for name, share in found.layers.items()}, level)
        if len(found.kept):
            self._writer.add_histogram("weights", found.kept, level)
        for name, grey in found.pictures.items():
            self._writer.add_image(f"masks/{name.partition(':')[0]}", grey, level, dataformats="HW")

    def pictures(
        self, section: str, figures: Sequence[Path], tables: Mapping[str, Path] | None = None
    ) -> None:
        """Log figures as pictures."""
        from PIL import Image

        for path in pictures_among(figures):
            with Image.open(path) as opened:
                pixels = np.asarray(opened.convert("RGB"))
            self._writer.add_image(f"{section}/{path.stem}", pixels, 0, dataformats="HWC")

    def finish(
        self,
        records: Sequence[Record],
        curves: Sequence[Record],
        figures: Sequence[Path],
        tickets: Sequence[Path] = (),
    ) -> list[str]:
        """Log the verdict and the figures; say how to look at it."""
        if self._logger is None:
            return []
        if records:
            self._writer.add_text("verdict", "\n\n".join(verdict(records, self._measured)))
        folder = self._logger.log_dir
        self._memory.keep()
        super().finish(records, curves, figures, tickets)
        return [f"tensorboard: {folder}"]

    def _metrics(self, row: Mapping[str, float], step: int) -> None:
        self._shown |= {name for name in row if name.startswith("tickets/")}
        if self._memory.is_new({"step": step, **row}):
            super()._metrics(row, step)

    @property
    def _writer(self) -> Any:
        assert self._logger is not None
        return self._logger.experiment


def tensorboard_logger(
    save_dir: str | None = None, name: str | None = "tensorboard", version: str | int | None = ""
) -> TensorBoardLogger:
    """Log to TensorBoard, into ``<save_dir>/<name>/<version>``; ``save_dir`` null: the study's."""
    if importlib.util.find_spec("tensorboard") is None:
        raise LthError("logger=tensorboard: it needs tensorboard: pip install 'lth[tensorboard]'")

    def make(folder: Path) -> Any:
        from pytorch_lightning.loggers import TensorBoardLogger as Lightnings

        place = save_dir or str(folder)
        return Lightnings(place, name=name, version=version, default_hp_metric=False)

    return TensorBoardLogger(make)

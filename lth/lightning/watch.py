"""What a fit has logged so far, for who watches while it goes; no number depends on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytorch_lightning as pl

from lth.lightning.member import Follow
from lth.lightning.settings import Settings
from lth.store.entry import Point


class Watch(pl.Callback):
    """Finds the member's own callback in its fit, and reads the curve that it keeps.

    Where a member is trained by several processes there is nothing to be seen in this one.
    """

    def __init__(self) -> None:
        self._follow: Follow | None = None
        self._seen = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"_follow": None, "_seen": 0}

    def beside(self, settings: Settings) -> Settings:
        """Return the settings with this callback first among the user's, for one fit."""
        if settings.devices > 1:
            return settings
        callbacks = [self, *settings.trainer["callbacks"]]
        return replace(settings, trainer={**settings.trainer, "callbacks": callbacks})

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find what follows the fit."""
        callbacks: list[Any] = getattr(trainer, "callbacks", [])
        self._follow = next((c for c in callbacks if isinstance(c, Follow)), None)

    def new(self) -> list[Point]:
        """Return the points of the curve that have come since the last time."""
        if self._follow is None:
            return []
        curve = self._follow.course.curve
        found, self._seen = curve[self._seen :], len(curve)
        return found

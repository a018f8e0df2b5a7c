"""Short ways of saying a setting on the command line: ``--recipe.lr=0.1``, ``logger.tags=[a]``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lth.config import GROUPS, choices
from lth.errors import LthError

DASHED = re.compile(r"--(?P<setting>(?P<name>[a-z]\w*)([./]\w+)*=.*)", re.DOTALL)

FLAGS = ("config-dir", "cfg", "package", "resolve", "info", "run", "multirun")
"""Flags of Hydra's that look like a setting of ours."""

SETTINGS = (*GROUPS, "arms", "method", "experiment", "task", "name", "seed", "trials", "levels",
            "out", "action", "budget")  # fmt: skip
"""What may be said with dashes, as an agent of wandb's sweeps does."""


def undashed(argument: str) -> str:
    """Return ``recipe.lr=0.1`` for ``--recipe.lr=0.1``; anything else as it is.

    >>> undashed("--recipe.lr=0.1"), undashed("--cfg=job"), undashed("-m")
    ('recipe.lr=0.1', '--cfg=job', '-m')
    """
    found = DASHED.fullmatch(argument)
    return found["setting"] if found and found["name"] in SETTINGS else argument


def of_its_logger(settings: Sequence[str]) -> list[str]:
    """Say of which logger a setting is, where one is chosen: ``logger.mode`` is its mode.

    >>> of_its_logger(["logger.mode=offline"]), of_its_logger(["logger=csv", "logger.wandb.id=x"])
    (['logger.wandb.mode=offline'], ['logger=csv', 'logger.wandb.id=x'])
    """
    chosen = ["wandb"]
    for setting in settings:
        key, _, text = setting.partition("=")
        if key.lstrip("+") == "logger":
            chosen = [name.strip() for name in text.strip("[]'\" ").split(",")]
    if any(s.lstrip("+").startswith("logger._target_=") for s in settings):
        return list(settings)  # one of the user's own, whose settings these are
    return [_named(setting, chosen) for setting in settings]


def _named(setting: str, chosen: Sequence[str]) -> str:
    key, equals, text = setting.partition("=")
    plus = key[: len(key) - len(key.lstrip("+~"))]
    group, _, rest = key[len(plus) :].partition(".")
    first = rest.partition(".")[0]
    mine = [s for s in chosen if s in choices("logger")]
    known = (*choices("logger"), *chosen)
    if group != "logger" or not rest or first in known or len(mine) < len(chosen):
        return setting
    if rest.endswith("._target_") or text.startswith("{"):  # another logger, under its own name
        return setting
    if len(chosen) > 1:
        names = " or ".join(f"logger.{name}.{rest}" for name in chosen)
        raise LthError(f"{key}: say of which logger: {names}")
    return f"{plus}logger.{chosen[0]}.{rest}{equals}{text}"

"""Everything the command does, as one call without Hydra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lth.errors import LthError, told
from lth.spec.plain import short
from lth.store.study import Study


def run(*, progress: bool = True, config_dir: str | Path | None = None, **settings: Any) -> Study:
    """Run a study and return it: ``lth.run(model="lenet", data="digits", trials=3).records``.

    The settings are the command's: ``trials``, ``levels``, ``seed``, ``out``, ``name``,
    ``experiment``, ``arms``, ``method``, and a choice per group (``data``, ``model``, ``recipe``,
    ``score``, ``prune``, ``rewind``, ``trainer``, ``logger``): the name of a YAML, a mapping laid
    over the default choice, a mapping with a ``_target_``, a factory, or a ``functools.partial`` of
    one. A LightningModule of one's own is ``task={"module": Lit, "data": Data, "monitor":
    "val_loss"}`` with ``trainer={"max_epochs": 20}``: any argument of ``pl.Trainer``.
    YAMLs of one's own are named like the command's, with their folder as ``config_dir``. The same
    settings give the same study as the command's; what is trained already is not trained again.
    Bad settings raise ``lth.LthError`` before any work starts.
    """
    from rich.console import Console

    from lth.config import compose
    from lth.study.actions import run_study
    from lth.study.progress import Display
    from lth.study.run import study_of
    from lth.study.setup import prepare

    display = Display(Console(), enabled=progress)
    action = settings.get("action", "run")
    if not isinstance(action, str) or action != "run":
        raise LthError(f"action={short(action)}: lth.run runs; the command does others")
    try:
        setup = prepare(compose(config_dir, **settings))
        run_study(setup, display)
    except LthError:
        raise
    except Exception as error:  # of a model, a loss, data, a score: whoever made it
        raise told(error) from error
    return study_of(setup)

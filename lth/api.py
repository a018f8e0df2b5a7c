"""Everything the command does, as one call without Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lth.errors import LthError, told
from lth.spec.plain import short
from lth.store.study import Study

if TYPE_CHECKING:
    from lth.study.fit import Fitted


def fit(
    knob: str,
    budget: str | Sequence[str],
    *,
    values: Sequence[Any] | None = None,
    low: float | None = None,
    high: float | None = None,
    of: str = "all",
    progress: bool = True,
    config_dir: str | Path | None = None,
    **settings: Any,
) -> Fitted:
    """Choose a setting for a budget: ``lth.fit("prune.rate", "bytes<=900", values=[0.2, 0.5])``.

    ``knob`` is the dotted place of a setting, such as ``method.cluster.moves.0.bits``; tried are
    its ``values``, or by bisecting those from ``low`` to ``high``, both given (the budget is taken
    to rise or fall with it). A budget limits params, nonzeros, bytes, macs, macs_nonzero,
    search_macs or density ``of`` all trials, or of their mean. Chosen is the network, of those that
    keep to it, that is best on validation examples, as its packed file; ``.value``, ``.chosen``,
    ``.tried`` and the ``.settings`` that give it. ``settings`` are those of ``lth.run``.
    """
    from rich.console import Console

    from lth.config import compose
    from lth.study.fit import fit_study
    from lth.study.progress import Display

    asked = {"knob": knob, "budget": budget, "values": values, "low": low, "high": high,
             "trials": of}  # fmt: skip
    asked = {n: list(v) if isinstance(v, tuple | range) else v for n, v in asked.items()}
    try:
        config = compose(config_dir, **settings, action="fit", fit=asked)
        return fit_study(config, Display(Console(), enabled=progress))
    except LthError:
        raise
    except Exception as error:  # of a model, a loss, data, a score: whoever made it
        raise told(error) from error


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

"""Everything the command does, as one call without Hydra."""

from __future__ import annotations

from typing import Any

from lth.study import Study


def run(*, progress: bool = True, **settings: Any) -> Study:
    """Run a study and return it: ``lth.run(model="lenet", data="digits", trials=3).records``.

    The settings are the command's: ``trials``, ``levels``, ``seed``, ``out``, ``name``,
    ``experiment``, ``arms``, and a choice per group (``data``, ``model``, ``recipe``, ``score``,
    ``prune``, ``rewind``, ``trainer``, ``logger``): the name of a YAML, a mapping laid over
    the default choice, a mapping with a ``_target_``, a factory, or a ``functools.partial`` of one.
    The same settings give the same study as the command's; what is trained already is not trained
    again. Bad settings raise ``lth.LthError`` before any work starts.
    """
    from rich.console import Console

    from lth.config import compose
    from lth.execute import study_of
    from lth.progress import Display
    from lth.report import run_study
    from lth.setup import prepare

    display = Display(Console(), enabled=progress)
    setup = prepare(compose(**settings))
    run_study(setup, display)
    return study_of(setup)

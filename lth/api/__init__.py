"""Everything the command does, as calls without Hydra."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from lth.api.settings import Common, Looks, Settings, names_them
from lth.errors import LthError, nearest, told
from lth.spec.plain import short
from lth.store.study import Study

if TYPE_CHECKING:
    from lth.api.results import Figures, Results
    from lth.study.fit import Fitted
    from lth.study.plan import Plan

FUNCTIONS = ("plan", "plot", "analyse", "compare", "fit")
"""The actions that have a function of their own here."""

ALONE = threading.RLock()
"""Who works with a study: what draws random numbers seeds generators that a process has once, so
calls from several threads go one after the other."""


@names_them(Settings)
def run(
    *, progress: bool = True, config_dir: str | Path | None = None, **settings: Unpack[Settings]
) -> Study:
    """Run a study and return it: ``lth.run(model="lenet", data="digits", trials=3).records``.

    The settings are the command's: ``trials``, ``levels``, ``seed``, ``out``, ``name``,
    ``experiment``, ``arms``, ``method``, and a choice per group (``data``, ``model``, ``recipe``,
    ``score``, ``prune``, ``rewind``, ``trainer``, ``logger``): the name of a YAML, a mapping laid
    over the default choice, a mapping with a ``_target_``, a factory, or a ``functools.partial`` of
    one. A LightningModule of one's own is ``task={"module": Lit, "data": Data, "monitor":
    "val_loss"}`` with ``trainer={"max_epochs": 20}``: any argument of ``pl.Trainer``.
    YAMLs of one's own are named like the command's, with their folder as ``config_dir``. The same
    settings give the same study as the command's; what is trained already is not trained again.
    What is returned is the study as this run has left it, whatever a later one adds to its folder.
    Bad settings raise ``lth.LthError`` before any work starts.
    """
    from lth.api.display import shown
    from lth.config import compose
    from lth.study.actions import run_study
    from lth.study.run import study_of
    from lth.study.setup import prepare

    given = _settings(settings, "run")
    with _alone(), shown(progress) as display:
        setup = prepare(compose(config_dir, **given))
        run_study(setup, display)
        return study_of(setup).read()


@names_them(Settings)
def plan(*, config_dir: str | Path | None = None, **settings: Unpack[Settings]) -> Plan:
    """Return what ``lth.run`` would train with these settings: members, steps, seconds, bytes.

    ``lth.plan(trials=10).seconds`` is None where nothing alike has been trained on this machine.
    """
    from lth.config import compose
    from lth.study.plan import plan as planned
    from lth.study.setup import prepare

    given = _settings(settings, "plan")
    with _alone():
        return planned(prepare(compose(config_dir, **given, action="plan")))


@names_them(Common)
def fit(
    knob: str,
    budget: str | Sequence[str],
    *,
    values: Sequence[Any] | None = None,
    low: float | None = None,
    high: float | None = None,
    of: Literal["all", "mean"] = "all",
    progress: bool = True,
    config_dir: str | Path | None = None,
    **settings: Unpack[Common],
) -> Fitted:
    """Choose a setting for a budget: ``lth.fit("prune.rate", "bytes<=900", values=[0.2, 0.5])``.

    ``knob`` is the dotted place of a setting, such as ``method.cluster.moves.0.bits``; tried are
    its ``values``, or by bisecting those from ``low`` to ``high``, both given (the budget is taken
    to rise or fall with it). A budget limits params, nonzeros, bytes, macs, macs_nonzero,
    search_macs or density ``of`` all trials, or of their mean. Chosen is the network, of those that
    keep to it, that is best on validation examples, as its packed file; ``.value``, ``.chosen``,
    ``.tried`` and the ``.settings`` that give it. ``settings`` are those of ``lth.run``.
    """
    from lth.api.display import shown
    from lth.config import compose
    from lth.study.fit import fit_study

    asked = {"knob": knob, "budget": budget, "values": values, "low": low, "high": high,
             "trials": of}  # fmt: skip
    asked = {n: list(v) if isinstance(v, tuple | range) else v for n, v in asked.items()}
    given = _settings(settings, "fit")
    with _alone(), shown(progress) as display:
        return fit_study(compose(config_dir, **given, action="fit", fit=asked), display)


@names_them(Looks)
def plot(study: Study | str | Path, **looks: Unpack[Looks]) -> Figures:
    """Draw a study's figures anew, write them beside it, and return them by name.

    ``lth.plot(study)["tickets"]`` is a ``matplotlib.figure.Figure``. ``study`` may be its folder.
    """
    from lth.api.display import Quiet
    from lth.results.figures import drawn
    from lth.study.actions import plot_study

    found = _opened(study)
    with _one_line(), drawn() as figures:
        opened: Any = Opened(found.folder, {**found.config, **_looks(looks)})
        plot_study(opened, Quiet())
    return _shown(figures)


@names_them(Looks)
def analyse(study: Study | str | Path, *, progress: bool = True, **looks: Unpack[Looks]) -> Results:
    """Look at the masks and networks of a study; write tables and figures beside it, return them.

    Tables are ``analysis`` (structure, overlap with chance, signs, movement, connectivity, by
    member), ``matching`` (the verdict's answers) and ``paths`` (loss along lines between networks).
    """
    from lth.api.display import Quiet, shown
    from lth.api.results import results
    from lth.results.figures import drawn
    from lth.study.actions import analyse_study
    from lth.study.setup import prepare

    found = _opened(study)
    config = {**found.config, **_looks(looks), "out": str(found.folder.parent.parent)}
    config["logger"] = {"_target_": "lth.loggers.none"}
    with _alone(), shown(progress, Quiet()) as display, drawn() as figures:
        setup = prepare({**config, "action": "analyse"})
        vars(setup)["id"] = found.id  # this very folder, whatever the code has become since
        analyse_study(setup, display)
    heard = display if isinstance(display, Quiet) else Quiet()  # the terminal has been told
    names = ["analysis", "matching", "paths"]
    return results(found.folder, names, _shown(figures), heard.notes, heard.text)


@names_them(Looks)
def compare(
    *studies: Study | str | Path | Sequence[Study | str | Path],
    reference: str | None = None,
    levels: Sequence[int] | None = None,
    axis: Literal["bytes", "macs", "params", "density"] | None = None,
    budgets: Sequence[float] | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    **looks: Unpack[Looks],
) -> Results:
    """Compare the methods of studies at one density and at equal cost: ``lth.compare(a, b)``.

    ``studies`` are studies, folders, or patterns such as ``"out/studies/compare-*"``;
    ``reference`` (a study, an arm, or ``study/arm``) is what differences are to, ``levels`` are
    those of its densities to compare at. With an ``axis``: accuracy of packed networks against it,
    and the best of each method within ``budgets``. Written to ``<out>/compare/<name>``, ``out``
    being where the first study lies; ``.table``, ``.figure``, ``.to_pandas()`` have it.
    """
    from lth.api.display import Quiet
    from lth.api.results import results
    from lth.config import compose
    from lth.results.compare.studies import find
    from lth.results.figures import drawn
    from lth.study.comparison import compare_studies

    listed = studies[0] if len(studies) == 1 and isinstance(studies[0], list | tuple) else studies
    if not listed:
        raise LthError("compare: name studies or folders: lth.compare(a, b)")
    for each in listed:
        _check_study(each)
    given = [str(s.folder) if isinstance(s, Study) else str(s) for s in listed]
    asked = {"studies": given, "reference": reference, "axis": axis, "name": name,
             "budgets": None if budgets is None else list(budgets)}  # fmt: skip
    more = {} if levels is None else {"levels": list(levels)}
    display = Quiet()
    with _one_line(), drawn() as figures:
        root = find(given)[0].folder.parent.parent if out is None else Path(out)
        config = compose(None, action="compare", **_looks(looks), **asked, **more, out=str(root),
                         logger="none")  # fmt: skip
        folder = compare_studies(config, display)
    names = ["compare", "equal_cost"] if axis is None else ["pareto", "equal_budget"]
    return results(folder, names, _shown(figures), display.notes, display.text)


@dataclass(frozen=True)
class Opened:
    """What of a study made ready drawing needs: where it lies and how it is set."""

    folder: Path
    config: dict[str, Any]


@contextmanager
def _one_line() -> Iterator[None]:
    """Raise whatever goes wrong as an ``LthError``, whoever's code it was in."""
    try:
        yield
    except LthError:
        raise
    except Exception as error:  # of a model, a loss, data, a score: whoever made it
        raise told(error) from error


@contextmanager
def _alone() -> Iterator[None]:
    with ALONE, _one_line():
        yield


def _settings(settings: Any, function: str) -> dict[str, Any]:
    """Return settings; an action is another function, and is not done here."""
    given = dict(settings)
    action = given.pop("action", function)
    if not isinstance(action, str) or action != function:
        other = f"lth.{action} does that" if action in FUNCTIONS else "the command does others"
        verb = {"run": "runs", "plan": "plans", "fit": "fits"}[function]
        raise LthError(f"action={short(action)}: lth.{function} {verb}; {other}")
    return given


def _looks(looks: Mapping[str, Any]) -> dict[str, Any]:
    """Return how results are shown; what is a setting of ``figures`` belongs in there."""
    from lth.results.figure_options import FigureOptions

    for name in looks:
        if name not in Looks.__annotations__:
            inside = name in FigureOptions.__dataclass_fields__
            mend = (
                f"; figures={{'{name}': ...}}" if inside else nearest(name, Looks.__annotations__)
            )
            raise LthError(f"{name}: no such setting{mend}")
    return dict(looks)


def _shown(figures: dict[str, Any]) -> Figures:
    """Return figures as a mapping that a notebook shows, and let it show each of them alone."""
    from lth.api.results import Figures, show_in_notebooks

    show_in_notebooks()
    return Figures(figures)


def _opened(study: Study | str | Path) -> Study:
    _check_study(study)
    return study if isinstance(study, Study) else Study(study)


def _check_study(study: Any) -> None:
    if not isinstance(study, Study | str | PathLike):
        kind = type(study).__name__
        raise LthError(
            f"a study is needed, what lth.run returns, or its folder, not of type {kind}"
        )

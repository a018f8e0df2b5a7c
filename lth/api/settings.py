"""What ``lth.run`` and its like take: the command's settings, typed, so that editors know them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar

Factory: TypeAlias = Callable[..., Any]

Choice: TypeAlias = str | Mapping[str, Any] | Factory
"""A YAML's name, a mapping laid over the default choice or with a ``_target_``, or a factory."""

Several: TypeAlias = str | Sequence[str | Factory] | Mapping[str, Choice | Sequence[Any]]
"""Names and factories, or a mapping from names to choices (of methods: to lists of moves)."""


class Looks(TypedDict, total=False):
    """How results are shown, which changes no number."""

    figures: Mapping[str, Any]
    """How figures look and in which formats they are written."""
    table: str
    """Which rows of the table are printed: ``short`` or ``full``."""


class Common(Looks, total=False):
    """The settings of a study, but ``budget``; what is left out is as in conf/config.yaml."""

    name: str | None
    """Of the study's folder: ``<name>-<hash8>``; by default model and data."""
    seed: int
    """Every random number derives from it by name."""
    trials: int
    """Replicates, from independent streams."""
    levels: int | Sequence[int]
    """Pruning levels; or the levels to compare, such as ``[7, 13]``."""
    out: str | Path
    """Root of all outputs."""
    experiment: str
    """A paper's settings: a YAML of conf/experiment, under which all others are laid."""
    data: Choice
    """The data set: a name, or a factory of arrays, tensors or torch data sets."""
    model: Choice
    """The network: a name, or a factory of an ``nn.Module``."""
    recipe: Choice
    """How members train: ``{"steps": 500, "lr": 1e-3, "batch": 60, "optimizer": "sgd"}``."""
    score: Choice
    """Which weights matter: ``magnitude``, ``snip``, ..., or a function of one's own."""
    search: Choice
    """How masks are found: ``iterative``, ``one_shot``, ``at_init``, ``from_file``, ..."""
    prune: Choice
    """How many weights go per level, and where: ``{"rate": 0.2}``."""
    rewind: Choice
    """What a ticket goes back to: ``{"step": 50}``."""
    arms: Several
    """What tickets are compared with: ``["winning_ticket", "random_reinit"]``."""
    method: Several
    """What is made of trained networks: names, or lists of moves."""
    trainer: Choice
    """Where and how members train: ``{"workers": 2, "device": "cpu"}``."""
    logger: Choice | Sequence[str]
    """Who is told: ``wandb``, ``csv``, ``none``."""
    task: Choice
    """A LightningModule of one's own: ``{"module": Lit, "data": Data}``."""
    optimize: Any
    """What a sweeper is told of a study."""
    tune: str
    """What a sweeper varies: a YAML of conf/tune."""


class Settings(Common, total=False):
    """The settings of a study."""

    budget: bool | Literal["auto"]
    """Whether to measure what networks cost to store and to run."""


F = TypeVar("F", bound=Callable[..., Any])


class _LeftOut:
    def __repr__(self) -> str:
        return "..."


LEFT_OUT = _LeftOut()
"""Stands for a default in a signature: a setting that is left out is as in conf/config.yaml."""


def names_them(kind: Any) -> Callable[[F], F]:
    """Let ``help``, a notebook's completion and its tooltip name the settings of a function.

    Its ``**settings`` stand in the signature one by one, with the types of ``kind``.
    """

    def named(function: F) -> F:
        signature, only = inspect.signature(function), inspect.Parameter.KEYWORD_ONLY
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        hints = {n: getattr(h, "__forward_arg__", h) for n, h in kind.__annotations__.items()}
        more = [
            inspect.Parameter(name, only, default=LEFT_OUT, annotation=hint)
            for name, hint in hints.items()
        ]
        vars(function)["__signature__"] = signature.replace(parameters=[*own, *more])
        return function

    return named

"""A study made ready: everything a configuration names is built and checked before work starts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from lth.config import ACTIONS, GROUPS, NOT_IN_STUDY_ID, nearest, study_id
from lth.data.dataset import Dataset
from lth.data.own import data_of
from lth.errors import LthError
from lth.identity import described
from lth.imp import Experiment, check_score, check_search
from lth.networks.layers import Layers, summary
from lth.networks.ticket import drawable, layers_of
from lth.pruning.probe import Probe
from lth.pruning.rules import Prune, kept_by_level
from lth.pruning.search import Search
from lth.recipe.recipe import Recipe
from lth.spec.argument_types import is_whole
from lth.spec.build import Spec, build, complete, digest, fill, locate, parameters_of, target_of
from lth.store.store import Store
from lth.streams import check_trials
from lth.study.check import (
    check_agreement,
    check_augment,
    check_batch,
    check_examples,
    check_finite,
    check_parts,
)
from lth.study.check_model import check_model, check_weights, check_zeros, equal_draws
from lth.train.batches import Batches
from lth.train.job import Streams
from lth.train.key import Identities
from lth.train.options import Listener, Options
from lth.train.trainer import Trainer
from lth.types import WINNER, PruningChain

T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """The built parts of one study."""

    config: dict[str, Any]
    data: Spec
    dataset: Dataset
    recipe: Recipe
    parts: Experiment
    options: Options
    logger: Any
    notes: tuple[str, ...] = ()

    @cached_property
    def id(self) -> str:
        """``<name>-<hash8>``."""
        return study_id(self.config, self.identity)

    @cached_property
    def identity(self) -> str:
        """What the study's data and code are, as far as all of its members share them."""
        shared = described({k: self.config[k] for k in SHARED})
        return digest([self.identities.data.parts, self.identities.numerics.parts, shared])

    @cached_property
    def identities(self) -> Identities:
        """The identities of the study's members; data is hashed and code is walked once a run."""
        return Identities(self.dataset)

    def trainer(self, store: Store, listener: Listener) -> Trainer:
        """Return what trains the study's cohorts, or looks them up."""
        return Trainer(
            self.data, self.dataset, self.recipe, self.parts.seed, self.snapshots, store,
            self.options, listener, self.identities,
        )  # fmt: skip

    @property
    def out(self) -> Path:
        """Root of all outputs."""
        return Path(self.config["out"])

    @property
    def folder(self) -> Path:
        """Where the study's files go."""
        return self.out / "studies" / self.id

    @property
    def snapshots(self) -> tuple[int, ...]:
        """Steps at which the dense run must be known; 0 is its start, which is always kept."""
        steps = self.recipe.steps
        wanted = set(self.parts.rewind.needs(steps))
        wanted |= set(_looked_at(self.parts.search, steps))
        return tuple(sorted(wanted - {0}))


def prepare(given: Mapping[str, Any]) -> Setup:
    """Build and check all that a configuration names."""
    config: dict[str, Any] = complete(given)
    check_values(config)
    recipe = _make(Recipe, config["recipe"], "recipe")
    options = _make(Options, config["trainer"], "trainer")
    logger = build(config["logger"])
    score, prune, arms = build(config["score"]), build(config["prune"]), _arms(config["arms"])
    search = build(config["search"])
    dataset = data_of(config["data"])
    epoch = (len(dataset.train_targets) - dataset.validation) / recipe.batch
    rewind = build(
        config["rewind"], steps=recipe.steps, schedule=recipe.schedule, steps_per_epoch=epoch
    )
    named = {"score": score, "search": search, "prune": prune, "rewind": rewind, "logger": logger}
    check_parts(named | {f"arms.{name}": arm for name, (arm, _) in arms.items()})
    rewind.needs(recipe.steps)
    _looked_at(search, recipe.steps)
    recipe = _for_numbers(recipe, dataset, config)
    of_data: dict[str, Any] = {"input_shape": list(dataset.input_shape)}
    of_data |= {"classes": dataset.classes} if dataset.classes else {"outputs": dataset.outputs}
    asked = _asked(given["model"], of_data)
    # a default that the model's factory has for these is no wish: the data's are meant
    left = {n: None for n in of_data if n in config["model"] and n not in asked}
    config["model"] = fill({**config["model"], **left}, **of_data)
    _check_outputs(config["model"], dataset)
    config["model"] = drawable(config["model"], of_data["input_shape"])
    check_augment(dataset)
    layers, notes = _layers(config["model"], dataset, recipe, prune)
    check_agreement(asked, of_data)
    levels = _levels(config["levels"])
    kept = kept_by_level(prune, layers, max(levels, default=0))
    for arm, _ in arms.values() if levels else ():
        getattr(arm, "check", lambda *_: None)(config["model"], kept[-1])
    check_batch(recipe, dataset)
    check_examples(config["score"], dataset)
    check_finite({k: v for k, v in config.items() if k not in NOT_IN_STUDY_ID})
    check_trials(config["seed"], config["trials"])
    lines = tuple(
        PruningChain(t, float(lr)) for t in range(config["trials"]) for lr in recipe.rates
    )
    parts = Experiment(
        config["model"], layers, score, prune, rewind, arms, lines, levels,
        _probes(config, dataset, recipe), search, dataset.input_shape, recipe.steps,
        config["seed"],
    )  # fmt: skip
    check_search(parts)
    check_score(parts)
    return Setup(config, config["data"], dataset, recipe, parts, options, logger, notes)


def _layers(
    model: Spec, dataset: Dataset, recipe: Recipe, rule: Prune
) -> tuple[Layers, tuple[str, ...]]:
    """Return the model's weights, those the rule includes too, and what is to be said of them."""
    include = tuple(getattr(rule, "include", ()))
    layers = layers_of(model, None, include)
    check_model(model, dataset, recipe)
    layers = layers_of(model, dataset.input_shape, include)
    if not layers.shapes:
        names = ", ".join(layers.others)
        raise LthError(
            f"model={target_of(model)}: no weights to prune: prune.include some: {names}"
        )
    prunable = rule.prunable(layers)
    check_weights(layers, prunable)
    check_zeros(model, dataset, prunable)
    if warning := equal_draws(model, layers):
        warnings.warn(warning, stacklevel=3)
    notes = [summary(layers, prunable)]
    if len(layers.heads) != 1:
        found = f"come from {', '.join(layers.heads)}" if layers.heads else "come from no weight"
        notes.append(f"the logits {found}: {layers.output} is taken for the output layer")
    return layers, tuple(notes)


def _for_numbers(recipe: Recipe, dataset: Dataset, config: dict[str, Any]) -> Recipe:
    """Measure the squared error of a regression, unless the recipe names its measures."""
    if dataset.classes or recipe.measures is not None:
        return recipe
    measures = {"mse": {"_target_": "lth.recipe.measures.mse"}}
    config["recipe"] = {**config["recipe"], "measures": measures}
    return replace(recipe, measures=measures)


def _check_outputs(model: Spec, dataset: Dataset) -> None:
    """Refuse a model of classes for data that has none."""
    name = target_of(model)
    if not dataset.classes and "classes" in parameters_of(name, locate(name)):
        if model.get("classes") is None and "outputs" not in model:
            raise LthError(
                f"model={name}: it takes classes, and the data's targets are {dataset.outputs} "
                f"numbers: say model.classes={dataset.outputs}, or name a model that takes outputs"
            )


def _asked(model: Spec, of_data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the data the user has set in the model."""
    target_of(model)
    return {n: model[n] for n in of_data if model.get(n) is not None}


SHARED = ("model", "recipe", "score", "search", "prune", "rewind")
"""Settings whose code all members of a study share; an arm's is its own."""

SETTINGS = ("name", "seed", "trials", "levels", "out", "action", "studies", "reference", "arms",
            *GROUPS)  # fmt: skip


def check_values(config: Mapping[str, Any]) -> None:
    """Refuse a setting that is unknown or out of its range, by name; nothing is built for it."""
    for key in config:
        if key not in SETTINGS:
            raise LthError(f"{key}: no such setting{nearest(key, SETTINGS)}")
    for name, least in (("seed", 0), ("trials", 1)):
        if not is_whole(config[name], least):
            raise LthError(f"{name}={config[name]!r}: it must be a whole number from {least}")
    if config["action"] not in ACTIONS:
        raise LthError(f"action={config['action']}: it is one of {', '.join(ACTIONS)}")
    if config["action"] != "compare" and config.get("studies") is not None:
        raise LthError("studies: they are compared, not run: add action=compare")
    reference = config.get("reference")
    if reference is not None and (config["action"], type(reference)) != ("compare", str):
        raise LthError(
            f"reference={reference!r}: a study, an arm, or study/arm, for action=compare alone"
        )
    if not isinstance(config["out"], str) or not config["out"]:
        raise LthError(f"out={config['out']!r}: the folder of all outputs, such as out=out")
    name = config["name"]
    if not isinstance(name, str) or not name or set(name) & set("/\\\0") or name.startswith("."):
        raise LthError(f"name={name!r}: a study's name is part of a folder's: letters, digits, - _")


def _looked_at(search: Search, steps: int) -> Sequence[int]:
    """Return the steps at which a search looks at the dense run; most do not."""
    return getattr(search, "needs", lambda _: ())(steps)


def _levels(value: Any) -> tuple[int, ...]:
    """Return the levels at which arms are compared: ``1..N``, or those that a list names."""
    if is_whole(value, 0):
        return tuple(range(1, value + 1))
    if not isinstance(value, list) or not value or not all(is_whole(n, 0) for n in value):
        raise LthError(f"levels={value!r}: a whole number from 0, or a list of them: levels=[7,13]")
    return tuple(sorted({*value} - {0}))


def _arms(specs: Any) -> dict[str, Any]:
    if not isinstance(specs, Mapping) or not specs:
        raise LthError("arms: name at least one, such as arms=[winning_ticket,random_reinit]")
    found = {}
    for name, spec in specs.items():
        copies = spec.get("copies", 1)
        if not is_whole(copies, 1):
            raise LthError(f"arms.{name}.copies={copies!r}: it must be a whole number from 1")
        if name == WINNER and copies != 1:
            raise LthError(f"arms.{name}.copies={copies}: there is one winning ticket per level")
        found[name] = build({k: v for k, v in spec.items() if k != "copies"}), copies
    return found


def _probes(config: Mapping[str, Any], dataset: Dataset, recipe: Recipe) -> Callable[[int], Probe]:
    """Return a trial's probe: examples of its own training split."""
    loss = build(recipe.loss)

    def probe(trial: int) -> Probe:
        def examples(number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
            train = Batches(dataset, Streams(config["seed"], trial, 0), recipe.batch).train
            rows = train[torch.randperm(len(train), generator=generator)[:number]]
            return dataset.prepare(dataset.train_inputs[rows]), dataset.train_targets[rows]

        groups = dataset.classes or 1  # so many examples are drawn for each
        return Probe(config["model"], dataset.input_shape, groups, loss, examples)

    return probe


def _make(kind: type[T], values: Any, where: str) -> T:
    """Call a dataclass with a mapping; a key that it lacks is refused by name."""
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise LthError(f"{where}.{key}: no such setting{nearest(key, known)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise LthError(f"{where}: {error}") from None

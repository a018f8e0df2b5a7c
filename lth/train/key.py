"""The key of a member: all that its numbers depend on, and nothing else (see lth/identity)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from lth.data.dataset import Dataset
from lth.errors import LthError
from lth.identity import Walk, described, structure, tensor_digest
from lth.networks.ticket import draw_model, tensors_digest
from lth.recipe.recipe import Recipe
from lth.spec.build import Spec, build, digest
from lth.train.job import Job


class Identity(NamedTuple):
    """What a member is the result of: ``parts`` make the key, ``pieces`` name what was reached."""

    parts: dict[str, Any]
    pieces: dict[str, str]

    @property
    def key(self) -> str:
        """The name under which the store keeps the member."""
        return digest(self.parts)


class Identities:
    """Identities of the members of one study, over one data set.

    It remembers what its members have in common, so it must not outlive the run it was made for.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.data = data_identity(dataset)
        self.numerics = numerics()
        self._models: dict[str, Identity] = {}
        self._built: dict[str, Identity] = {}

    def of(self, job: Job) -> Identity:
        """Return the identity of a member.

        Not in it: device, workers, blocks, chunks, trials, levels, snapshots, curves, loggers, the
        names in a full mask (but where views look at what it names), versions of libraries.
        """
        ticket, streams = job.ticket, job.streams
        named = ticket.dynamics is not None or ticket.gate is not None or bool(ticket.views)
        pruned = {n: m for n, m in ticket.mask.items() if named or not m.all()}
        start = ticket.start
        parts: dict[str, Any] = {
            "numerics": self.numerics.parts,
            "data": self.data.parts,
            "lr": float(job.lr),
            "precision": job.precision,
            "compile": job.compile,
            "streams": {"seed": streams.seed, "trial": streams.trial, "level": streams.level,
                        "noise": streams.noise},
            "start": tensors_digest(start.params),
            "buffers": tensors_digest(start.buffers),
            "mask": {n: tensor_digest(m) for n, m in pruned.items()},
            "step": ticket.step,
        }  # fmt: skip
        pieces = dict(self.data.pieces)
        for name, found in self._of_specs(job).items():
            parts[name] = found.parts
            pieces |= found.pieces
        if job.lightning:
            of_callbacks = self._of_callbacks(job.lightning)
            parts["lightning"] = of_callbacks.parts
            pieces |= of_callbacks.pieces
        for name in ("frozen", "owned"):
            if values := getattr(ticket, name):
                parts[name] = tensors_digest(values)
        if ticket.teacher is not None:
            parts["teacher"] = ticket.teacher
        if ticket.examples:
            parts["examples"] = dict(ticket.examples)
        if ticket.views:  # in their order, whatever they are called
            made = [self._of_built(spec) for spec in ticket.views.values()]
            parts["views"] = [found.parts for found in made]
            for found in made:
                pieces |= found.pieces
        return Identity(parts, pieces)

    def _of_specs(self, job: Job) -> dict[str, Identity]:
        found = {"model": self._model(job.ticket.model), "recipe": self._recipe(job.recipe)}
        for name in ("dynamics", "gate"):
            spec = getattr(job.ticket, name)
            found |= {name: self._of_built(spec)} if spec is not None else {}
        return found | {"measure": self._of_built(job.measure or job.recipe.loss)}

    def _of_callbacks(self, acting: Mapping[str, Any]) -> Identity:
        pieces: dict[str, str] = {}
        return Identity({n: described(v, pieces) for n, v in acting.items()}, pieces)

    def _model(self, spec: Spec) -> Identity:
        key = json.dumps(spec, sort_keys=True)
        if key not in self._models:
            pieces: dict[str, str] = {}
            walk = Walk(structure(draw_model(spec, 0)))
            parts = {"factory": described(spec, pieces), "structure": walk.digest}
            self._models[key] = Identity(parts, pieces | walk.pieces)
        return self._models[key]

    def _recipe(self, recipe: Recipe) -> Identity:
        plain = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
        pieces: dict[str, str] = {"optimizer": str(recipe.optimizer.get("_target_"))}
        parts: dict[str, Any] = {"optimizer": described(recipe.optimizer, pieces)}
        for name in ("schedule", "loss"):
            found = self._of_built(plain[name])
            parts[name] = found.parts
            pieces |= found.pieces
        measures = {n: self._of_built(spec) for n, spec in recipe.measured.items()}
        parts["measures"] = {n: found.parts for n, found in measures.items()}
        for found in measures.values():
            pieces |= found.pieces
        parts["mode"] = "max" if recipe.higher else "min"
        aside = (*parts, "lr", "curves")  # a member has one rate; curves are looked at, not used
        return Identity({n: v for n, v in plain.items() if n not in aside} | parts, pieces)

    def _of_built(self, spec: Spec) -> Identity:
        """Digest a factory, and what it makes: it may have looked at more than its arguments."""
        key = json.dumps(spec, sort_keys=True)
        if key not in self._built:
            pieces: dict[str, str] = {}
            walk = Walk(build(spec))
            parts = {"factory": described(spec, pieces), "made": walk.digest}
            self._built[key] = Identity(parts, pieces | walk.pieces)
        return self._built[key]


def data_identity(dataset: Dataset) -> Identity:
    """Return the identity of a data set: its tensors, hashed now, and what prepares and augments.

    Its name and its note are for readers.
    """
    kind = type(dataset)
    walk = Walk(kind.prepare if kind is Dataset else kind)
    own = kind is Dataset  # whose private attributes follow from the others
    aside = ("name", "note")
    state = {n: v for n, v in vars(dataset).items() if n not in aside and not (own and n[0] == "_")}
    if not state.get("examples"):
        state.pop("examples", None)  # all are seen, as ever
    content = {n: Walk(v) for n, v in sorted(state.items())}
    pieces = dict(walk.pieces)
    for found in content.values():
        pieces |= found.pieces
    return Identity({"class": walk.digest} | {n: w.digest for n, w in content.items()}, pieces)


def numerics() -> Identity:
    """Return the identity of the code of lth that makes a member's numbers.

    Moving it does not matter, nor does its wording. Its roots are the training itself; what they
    refer to comes along.
    """
    from lth.train import cohort, engine, masking, member, network, trainer_options, vmap_engine

    course, members = cohort.MemberProgress, cohort.Cohort
    roots = (
        engine.SequentialEngine, vmap_engine.VmapEngine, network.Network, masking.Masking,
        cohort.blocks,
        course.note_losses, course.note_evaluation, members.blocks, members.train_block,
        members.evaluate, members._evaluations, members._keep_if_best, members._change_masks,
        members._take_snapshots, members._measure, members.finish, member.monitored,
        member.with_teacher, trainer_options.lightning_precision,
    )  # fmt: skip
    walk = Walk(*roots)
    return Identity({"code": walk.digest}, walk.pieces)


def member_key(job: Job, dataset: Dataset) -> str:
    """Return the name under which the store keeps the trained member."""
    return Identities(dataset).of(job).key


def check_same(job: Job, here: Identity) -> None:
    """Refuse to train what this process has built otherwise than the one that gave the job."""
    if here.key == job.key:
        return
    there = Identity(job.about.get("identity", {}), job.about.get("pieces", {}))
    paths = list(differences(there.parts, here.parts)) or ["(unknown)"]
    named = [n for n, v in here.pieces.items() if there.pieces.get(n, v) != v]
    part = paths[0].partition(".")[0]
    spec = {"data": job.data, "model": job.ticket.model}.get(part)
    what = part if spec is None else f"{part}={spec.get('_target_')}"
    listed = named or paths
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    raise LthError(
        f"{what}: a worker process built it otherwise than this one ({', '.join(listed[:3])}{more}"
        "): it draws random numbers without a seed, depends on what changes from process to "
        "process, or its file was edited meanwhile; make it the same every time, or set "
        "trainer.workers=0"
    )


def differences(old: Any, new: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Return where two identities' parts differ: ``{"recipe.steps": (100, 200)}``; None: lacking.

    >>> differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    {'a.b': (1, 3)}
    """
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return {} if old == new else {path: (old, new)}
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys((*old, *new)):
        below = f"{path}.{name}" if path else str(name)
        found |= differences(old.get(name), new.get(name), below)
    return found

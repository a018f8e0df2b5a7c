"""Teachers: any stored member, named by its place, by another study, or by its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lth.errors import LthError, told
from lth.moves.trained import Trained
from lth.networks.cost import forward_flops
from lth.networks.ticket import Net, draw_model, network_of
from lth.networks.ticket_check import is_key
from lth.pruning.needs import Needs
from lth.pruning.turn import Turn
from lth.spec.argument_types import is_whole
from lth.spec.plain import short
from lth.spec.trust import names_of, targets
from lth.store.cost import cost_at, cost_of
from lth.store.entry import StoredMember
from lth.store.members import find_place
from lth.store.restore import net_of
from lth.store.study import MEND, Study
from lth.types import WINNER, MemberId

DENSE, TRAINED, NEXT = "dense", "trained", "next"
HERE = ("trial", "lr", "arm", "level", "copy", "phase")
ELSEWHERE = ("study", "trust", *HERE)
FORMS = (
    "dense (the chain's trained dense network), trained (the network that the moves go on from), "
    "{level: 3}, {trial: 1} or {trial: next}, {study: its folder, level: 3}, or a member's key"
)


TRUST = "say that you trust its module: {study: its folder, trust: [mine]}"


class NoTeacher(LthError):
    """The member that was to teach is not there: its chain ended before, or is still to come."""


@dataclass(frozen=True)
class Teacher:
    """A stored member, what training it took of this chain's runs, and what it has seen.

    What it took beside those is told in ``about``: ``cost``, the FLOPs that its own study has of
    it, or ``place``, where this study has them.
    """

    entry: StoredMember
    about: dict[str, Any]
    needs: Needs


def named_teacher(given: Any) -> str | dict[str, Any]:
    """Return what names a teacher as plain data; what cannot name one is refused."""
    if given is None:
        return DENSE
    if isinstance(given, str) and (given in (DENSE, TRAINED) or is_key(given)):
        return given
    if isinstance(given, nn.Module) or callable(given) or _is_factory(given):
        raise LthError(
            f"moves.distil.teacher={short(given)}: a teacher is a stored member: train a network "
            "of your own by lth.run(model=..., levels=0), and name that study: {study: its folder}"
        )
    if not isinstance(given, Mapping) or not given:
        raise LthError(f"moves.distil.teacher={short(given)}: it is {FORMS}")
    allowed = ELSEWHERE if "study" in given else HERE
    for name, value in given.items():
        if name not in allowed:
            raise LthError(f"moves.distil.teacher.{name}: no such setting: it is {FORMS}")
        _check_place(name, value, "study" in given)
    return dict(given)


def _is_factory(given: Any) -> bool:
    return isinstance(given, Mapping) and bool({"_target_", "kind"} & given.keys())


def _check_place(name: str, value: Any, elsewhere: bool) -> None:
    whole = name in ("trial", "level", "copy", "phase")
    following = name == "trial" and value == NEXT and not elsewhere
    if whole and value is not None and not is_whole(value, 0) and not following:
        more = ", or next" if name == "trial" and not elsewhere else ""
        raise LthError(f"moves.distil.teacher.{name}={short(value)}: a whole number from 0{more}")
    if name in ("study", "arm") and not isinstance(value, str):
        raise LthError(f"moves.distil.teacher.{name}={short(value)}: a name")


def level_of(given: str | Mapping[str, Any]) -> int:
    """Return the level that must be trained before this teacher is there."""
    own = isinstance(given, Mapping) and "study" not in given
    return int(given.get("level") or 0) if own else 0  # type: ignore[union-attr]


def find(given: str | dict[str, Any], trained: Trained, context: Turn) -> Teacher:
    """Return the teacher that is named; one that is not there or does not fit is refused."""
    if given == DENSE:
        return _of(context.dense, {}, {0: context.steps}, context)
    if given == TRAINED:
        entry, took = context.trained, context.own_needs
        return _of(entry, {"trained": True}, took, context)
    if isinstance(given, str):
        entry = None if context.experiment.store is None else context.experiment.store.get(given)
        if entry is None:
            raise LthError(f"moves.distil.teacher={given[:12]}: no such member in this store")
        assert context.experiment.store is not None
        about = {"cost": cost_of(context.experiment.store, given)}
        return _fitting(entry, about, context, modules_of(context.experiment.model))
    if "study" in given:
        return _of_study(given, context)
    place = _place(given, context)
    source = context.look_up(place)
    about = {k: v for k, v in place._asdict().items() if k in given}
    same = context.chain == (place.trial, place.lr)
    if not same or place.arm != WINNER:  # what it took is not among the runs of this chain alone
        about["place"] = [*place]
    return _of(source.member, about, source.needs if same else {}, context)


def _place(given: Mapping[str, Any], context: Turn) -> MemberId:
    """Return the place in this study that a teacher is named by; what is not named is as here."""
    trials = sorted({line.trial for line in context.experiment.lines})
    trial = given.get("trial", context.chain.trial)
    if trial == NEXT:
        if len(trials) < 2:
            raise LthError("moves.distil.teacher.trial=next: the study has one trial: trials=2")
        trial = trials[(trials.index(context.chain.trial) + 1) % len(trials)]
    rate = given.get("lr")
    return MemberId(
        trial, context.chain.lr if rate is None else float(rate), given.get("arm", WINNER),
        given.get("level") or 0, given.get("copy") or 0, given.get("phase") or 0,
    )  # fmt: skip


def _of_study(given: Mapping[str, Any], context: Turn) -> Teacher:
    """Return a member of another study: of the same trial, where it has that one."""
    trust = (*names_of(given.get("trust") or ()), *modules_of(context.experiment.model))
    study = Study(given["study"], trust)
    place = {k: v for k, v in given.items() if k in HERE and v is not None}
    trials, rates = ({getattr(p, n) for p in study.members} for n in ("trial", "lr"))
    if "trial" not in place:
        here = context.chain.trial
        place["trial"] = here if here in trials else min(trials, default=0)
    if "lr" not in place and context.chain.lr in rates:
        place["lr"] = context.chain.lr
    try:
        entry = study.entry(**place)
    except LthError as error:
        raise LthError(str(error).replace(MEND, TRUST)) from error
    where = find_place(study.id, study.members, place)
    about = {"study": str(given["study"]), **place, "cost": cost_at(study, where)}
    return _fitting(entry, about, context, trust)


def _fitting(
    entry: StoredMember, about: dict[str, Any], context: Turn, trust: tuple[str, ...]
) -> Teacher:
    """Refuse a network of other inputs or other outputs than this study's."""
    if entry.diverged is not None:
        raise LthError(f"moves.distil.teacher {entry.key[:12]}: that member has diverged")
    net = net_of(entry, trust, TRUST)
    name = f"moves.distil.teacher={net.model['_target_']}"
    inputs, _ = context.probe.tensors(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = draw_model(context.experiment.model, 0).eval()(inputs)
        try:
            theirs = _network(net)(inputs)
        except Exception as error:
            shape = list(context.experiment.input_shape)
            raise LthError(
                f"{name}: it does not take this data's input_shape {shape}: {told(error)}"
            ) from error
    if _shape(own) != _shape(theirs):
        raise LthError(
            f"{name}: it gives {_shape(theirs)} for two examples, this study's network "
            f"{_shape(own)}: a teacher has the same classes"
        )
    for level, winner in context.winners.items():
        if winner.key == entry.key:  # it was trained here: its runs are counted as this chain's
            place = MemberId(*context.chain, WINNER, level, 0, 0)
            told_here = {k: v for k, v in about.items() if k != "cost"}
            return _of(entry, told_here, context.look_up(place).needs, context, net)
    return _of(entry, about, {}, context, net)


def _network(net: Net) -> nn.Module:
    return network_of(net.model, net.baked()).eval()


def _shape(outputs: Any) -> list[int] | str:
    return list(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"


def _of(
    entry: StoredMember, about: dict[str, Any], needs: Needs, context: Turn, net: Net | None = None
) -> Teacher:
    if entry.diverged is not None:
        raise NoTeacher(f"teacher {entry.key[:12]}: that member has diverged")
    told = {**about, **saw(entry)}
    model = entry.about.get("model") if net is None else net.model
    if model is not None:
        mask = None if entry.frozen else entry.final_mask
        told["trust"] = [
            *modules_of([model, *entry.about.get("ticket", {}).get("views", {}).values()])
        ]
        told["forward_flops"] = forward_flops(model, context.experiment.input_shape, mask)
    return Teacher(entry, told, needs)


def modules_of(specs: Any) -> tuple[str, ...]:
    """Return the modules of one's own that factories lie in: who trained them trusts them."""
    names = {t.rpartition(".")[0] for t in targets(specs)}
    return tuple(sorted(n for n in names if n.split(".")[0] not in ("lth", "torch")))


def saw(entry: StoredMember) -> dict[str, Any]:
    """Return what a stored member was trained on, and its accuracy on validation at its end."""
    about = entry.about
    found: dict[str, Any] = dict(about.get("examples", {}))
    end = about["step"] + about["steps"]
    for step, split, metric, value in getattr(entry, "measured", ()):
        if (step, split, metric) == (end, "validation", "accuracy"):
            found["accuracy"] = value
    return found

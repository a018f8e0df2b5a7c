"""A student: another network, freshly drawn, that trains for the whole recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lth.arms.small import WIDTHS, count_weights, narrow
from lth.errors import LthError, told
from lth.moves.trained import Move, Trained, spec_in
from lth.networks.rewrites.carry import full_mask
from lth.networks.ticket import Ticket, draw_model, draw_state, drawable
from lth.pruning.turn import Turn
from lth.spec.argument_types import is_whole
from lth.spec.build import Spec, fill, locate, parameters_of, target_of
from lth.spec.plain import short
from lth.streams import stream_seed


def student(
    model: Mapping[str, Any] | None = None,
    widths: Sequence[int] | None = None,
    arguments: Sequence[str] = WIDTHS,
    draw: int = 0,
) -> Move:
    """Train another network from scratch, as long as the recipe says.

    ``model`` is ``{kind: its factory, ...}``, or ``widths`` are those of the study's model; with
    neither it is the study's model narrowed to as many weights as the network has now, its
    ``arguments`` that give widths scaled together (Liu et al. 2019, arXiv 1810.05270, Section 3). A
    ``distil`` or ``show`` before it is for it. All students of a trial, level and ``draw`` start
    from equal weights and see the same batches: one who has a teacher and one who has none are a
    pair. It takes nothing of what came before but its teacher.
    """
    spec = spec_in("model", model)
    if spec is not None and widths is not None:
        raise LthError("moves.student: give a model or widths, not both")
    listed = isinstance(widths, list | tuple) and widths and all(is_whole(w, 1) for w in widths)
    if widths is not None and not listed:
        raise LthError(f"moves.student.widths={short(widths)}: a list of whole numbers from 1")
    if not is_whole(draw, 0):
        raise LthError(f"moves.student.draw={short(draw)}: a whole number from 0")

    def move(trained: Trained, context: Turn) -> Ticket:
        own = trained.pending or trained.ticket
        made = _model(spec, widths, own, context, arguments)
        _check_size(made, context)
        context.forget()
        said = {} if trained.pending is None else trained.pending.changes
        taught = {k: v for k, v in own.origin.items() if k == "teacher"}
        teacher = None if trained.pending is None else trained.pending.teacher
        if teacher is not None:
            context.note(_needs(taught), ())
        seed = stream_seed(
            "student", context.experiment.seed, context.chain.trial, context.level, draw
        )
        return Ticket(
            model=made, mask=full_mask(made), **draw_state(made, seed)._asdict(),
            changes={n: v for n, v in said.items() if n != "steps"}, examples=own.examples,
            teacher=teacher, origin=taught if teacher is not None else {}, searched=False,
        )  # fmt: skip

    return move


def _needs(taught: Mapping[str, Any]) -> dict[Any, int]:
    runs = taught.get("teacher", {}).get("needs", [])
    return {run if isinstance(run, int) else tuple(run): step for run, step in runs}


def _model(
    spec: Spec | None,
    widths: Sequence[int] | None,
    own: Ticket,
    context: Turn,
    arguments: Sequence[str],
) -> Spec:
    """Return the student's model for this data; one that does not fit it is refused."""
    of_study = context.experiment.model
    if spec is None and widths is None:
        if own.weights >= context.layers.total:
            return of_study
        try:
            return narrow(of_study, own.weights, arguments)
        except LthError as error:
            raise LthError(str(error).replace("arms.small_dense", "moves.student")) from error
    if spec is None:
        name = target_of(of_study)
        if "widths" not in parameters_of(name, locate(name)):
            raise LthError(
                f"moves.student.widths: {name} takes none: say model={{kind: {name}, ...}}"
            )
        return {**of_study, "widths": list(widths or ())}
    shape = list(context.experiment.input_shape)
    of_data = {n: of_study[n] for n in ("classes", "outputs") if of_study.get(n) is not None}
    made = drawable(fill(spec, input_shape=shape, **of_data), shape)
    _check(made, context)
    return made


def _check_size(model: Spec, context: Turn) -> None:
    """Refuse a student larger than the study's dense network: densities are shares of that."""
    own, whole = count_weights(model), context.layers.total
    if own > whole:
        raise LthError(
            f"moves.student: {target_of(model)} has {own:,} weights, the study's network "
            f"{whole:,}: let the larger one be the study's, or the teacher another study's"
        )


def _check(model: Spec, context: Turn) -> None:
    """Refuse a student of other inputs or outputs than the study's network."""
    inputs, _ = context.probe.tensors(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        try:
            given = draw_model(model, 0).eval()(inputs)
        except Exception as error:
            raise LthError(
                f"moves.student: {target_of(model)} does not take this data's input_shape "
                f"{list(context.experiment.input_shape)}: {told(error)}"
            ) from error
        wanted = draw_model(context.experiment.model, 0).eval()(inputs)
    shapes = [list(getattr(o, "shape", ())) for o in (given, wanted)]
    if shapes[0] != shapes[1]:
        raise LthError(
            f"moves.student: {target_of(model)} gives {shapes[0]} for two examples, the study's "
            f"network {shapes[1]}"
        )

"""What a ticket must be, whoever made it: checked by name, before anything is built."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lth.errors import LthError
from lth.networks.layers import describe
from lth.spec.argument_types import is_whole
from lth.spec.build import Spec, build
from lth.spec.trust import may_call, targets
from lth.types import Mask, Params

SOURCES = "Ticket.from_state takes such a state as it is"


def check_net(net: Any) -> None:
    """Refuse a net whose parts do not fit together, by name; no model is built."""
    if not isinstance(net.model, Mapping) or not isinstance(net.model.get("_target_"), str):
        raise LthError(
            f"Ticket: model={str(net.model)[:80]!r} is no spec: give a factory's name and its "
            "arguments, {'_target_': 'mine.net', ...}, or use Ticket.from_state"
        )
    for field in ("mask", "params", "buffers", "frozen", "owned"):
        _check_tensors(field, getattr(net, field))
    _check_mask(net.mask, net.params)
    for name, value in net.frozen.items():
        if name not in net.mask or value.shape != net.mask[name].shape:
            raise LthError(f"Ticket: frozen {name} {tuple(value.shape)} fits no mask")
    views = isinstance(net.views, Mapping) and all(
        isinstance(n, str) and v is not None and _is_spec(v) for n, v in net.views.items()
    )
    _refuse(net, {"gate": _is_spec(net.gate), "views": views})
    if odd := [n for n in net.owned if n.rpartition("/")[0] not in net.mask]:
        raise LthError(f"Ticket: owned {odd[0]}: its name is <weight of the mask>/<tensor>")


def _check_tensors(field: str, values: Any) -> None:
    tensors = isinstance(values, Mapping) and all(
        isinstance(n, str) and isinstance(v, Tensor) for n, v in values.items()
    )
    if not tensors:
        raise LthError(
            f"Ticket: {field} must be a dict of tensors by name, not {str(values)[:60]!r}"
        )


def _check_mask(mask: Mask, params: Params) -> None:
    for name, part in mask.items():
        if part.dtype != torch.bool:
            raise LthError(
                f"Ticket: the mask of {name} is {part.dtype}, not booleans; Ticket.from_state "
                "converts 0 and 1"
            )
        if name not in params:
            near = [n for n in params if n.endswith("." + name) or n == f"{name}_orig"]
            hint = f"; there is {near[0]}, and {SOURCES}" if near else ""
            raise LthError(f"Ticket: the mask names {name}, which params lack{hint}")
        if part.shape != params[name].shape:
            raise LthError(
                f"Ticket: the mask of {name} has shape {tuple(part.shape)}, the weights "
                f"{tuple(params[name].shape)}"
            )


def check(ticket: Any) -> None:
    """Refuse what says wrongly how a ticket trains next, by name."""

    def number(value: Any) -> bool:
        real = isinstance(value, int | float) and not isinstance(value, bool)
        return real and math.isfinite(value)

    holds = {
        "step": is_whole(ticket.step, 0) and ticket.step < 1 << 53,
        "origin": isinstance(ticket.origin, Mapping),
        "stretch": number(ticket.stretch) and ticket.stretch > 0,
        "changes": isinstance(ticket.changes, Mapping),
        "searched": isinstance(ticket.searched, bool),
        "noise": is_whole(ticket.noise, 0),
        "dynamics": _is_spec(ticket.dynamics),
        "teacher": ticket.teacher is None or is_key(ticket.teacher),
        "examples": isinstance(ticket.examples, Mapping)
        and ticket.examples.keys() <= {"labels", "without"},
        "sizes": isinstance(ticket.sizes, Mapping)
        and all(is_whole(s, 0) for s in ticket.sizes.values()),
        "total": ticket.total is None or is_whole(ticket.total, 1),
    }
    _refuse(ticket, holds)


def _refuse(ticket: Any, holds: Mapping[str, bool]) -> None:
    for field, right in holds.items():
        if not right:
            raise LthError(f"Ticket: {field}={str(getattr(ticket, field))[:80]} cannot be")


def is_key(value: Any) -> bool:
    """Whether a value is written as the store writes a member's key."""
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _is_spec(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping) and isinstance(value.get("_target_"), str))


def fits(sizes: Mapping[str, int], mask: Mask, params: Params) -> bool:
    """Whether sizes of layers can be those of a ticket's model."""
    known = all(n in params for n in sizes)
    return not sizes or (known and all(sizes.get(n) == m.numel() for n, m in mask.items()))


def same_names(have: Params, given: Params) -> None:
    """Refuse a state that is not of this model: what it lacks, what it has too much, its shapes."""
    for words, names in (
        ("the state lacks {}, which would be drawn at random", [n for n in have if n not in given]),
        ("the model has no {}, which the state names", [n for n in given if n not in have]),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise LthError(words.format(names[0] + more))
    for name, value in given.items():
        if value.shape != have[name].shape:
            raise LthError(
                f"{name} has shape {tuple(value.shape)} in the state and "
                f"{tuple(have[name].shape)} in the model"
            )


def same(a: Any, b: Any) -> bool:
    """Whether two fields are the same: tensors by dtype and value, plain data by kind."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[n], b[n]) for n in a)
    alike = type(a) is type(b) or (isinstance(a, str) and isinstance(b, str))
    return alike and bool(a == b)


def outline(model: Spec, state: tuple[Params, Params], trials: int | None = None) -> None:
    """Compare a model of lth's or torch's own with a state before any of its memory is taken.

    ``trials`` bounds what it takes to see how the model computes, None: its user waits for it.

    It is made without memory, on torch's ``meta`` device, and stopped at more tensors than the
    state has, so that a spec in a file can ask for no more than the file itself has brought.
    """
    if not all(may_call(t, ("models", "networks.rewrites")) for t in targets(model)):
        return  # a user's own, whom a user has named
    params, buffers = state
    most = max(10_000, sum(t.numel() for t in (*params.values(), *buffers.values())))
    if (asked := greatest(model)) > most:
        raise LthError(f"its model asks for {asked:,} of something, and has not so many weights")
    with without_memory(max(MOST_PARTS, 4 * len(params)), trials):
        network = build(model)
    if isinstance(network, nn.Module):
        have = dict(network.named_parameters()) | dict(network.named_buffers())
        same_names(have, params | buffers)


def greatest(value: Any) -> int:
    """Return the greatest whole number in plain data."""
    if isinstance(value, Mapping | list | tuple):
        inner = value.values() if isinstance(value, Mapping) else value
        return max(map(greatest, inner), default=0)
    return value if isinstance(value, int) else 0


def weights_of(model: Spec) -> int:
    """Count the weights of a model that a file names; no memory is taken for it."""
    with without_memory(100_000):
        return describe(build(model)).total


@contextmanager
def without_memory(most: int, trials: int | None = None) -> Iterator[None]:
    """Make modules that hold no values; stop a factory that makes more than so many parts.

    A part is a module, or a parameter of one. Layers that are copied of each other register
    nothing: what is done to tensors counts, too. ``trials`` bounds what it may take a rewrite to
    run a network, to see how it computes.
    """
    made = Counted(f"the model has more than {most:,} parts", most)
    ran = Counted("to see how the model computes takes too long: name its factory, model=", trials)

    def count(*_: Any) -> None:
        made.count()

    of = nn.modules.module
    handles = (
        of.register_module_module_registration_hook(count),
        of.register_module_parameter_registration_hook(count),
    )
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), Steps(made, ran):
            yield
    finally:
        for handle in handles:
            handle.remove()


PER_PART = 4
"""Steps that making a part takes, about: its tensors made, drawn, copied."""

MOST_PARTS = 20_000
"""Modules and parameters of a model that a file names, at most; one of more lists its tensors."""

TRIALS, PER_NUMBERS = 50_000, 2000
"""Steps in which a model that a file names may be run to see how it computes; so many numbers are
one more."""


class Counted:
    """Raises where something has happened more often than it may; None: it may."""

    def __init__(self, words: str, most: int | None) -> None:
        self.words, self.left = words, math.inf if most is None else most

    def count(self, amount: float = 1) -> None:
        """Let it have happened once more, or in part."""
        self.left -= amount
        if self.left < 0:
            raise LthError(self.words)


class Steps(TorchDispatchMode):
    """Counts what torch does inside: what makes tensors without values, and what computes some."""

    def __init__(self, made: Counted, ran: Counted) -> None:
        super().__init__()
        self.made, self.ran = made, ran

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do a step, and count it."""
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.is_meta:
            self.made.count(1 / PER_PART)
        else:
            self.ran.count(1 + (found.numel() / PER_NUMBERS if isinstance(found, Tensor) else 0))
        return found

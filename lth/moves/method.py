"""A method from its settings: ``{at: ..., moves: [...], repeat: ...}``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lth.errors import LthError
from lth.moves.phases import DENSE, LAST, WINNERS
from lth.pruning.experiment import Method
from lth.spec.argument_types import is_whole
from lth.spec.build import build, target_of
from lth.spec.plain import short
from lth.types import WINNER

KEYS = ("at", "moves", "repeat")


def methods_of(specs: Any, arms: Collection[str]) -> dict[str, Method]:
    """Build the methods that a configuration names; their names stand beside those of the arms."""
    if not isinstance(specs, Mapping):
        raise LthError(f"method={short(specs)}: a list of names, or a mapping to at and moves")
    for name in specs:
        if name in arms or name == WINNER:
            raise LthError(f"method.{name}: an arm has that name: give it another")
    return {str(name): method_of(str(name), spec) for name, spec in specs.items()}


def method_of(name: str, spec: Any) -> Method:
    """Build one method."""
    if not isinstance(spec, Mapping) or "moves" not in spec:
        raise LthError(f"method.{name}={short(spec)}: it needs moves, a list, and at")
    if unknown := [key for key in spec if key not in KEYS]:
        raise LthError(f"method.{name}.{unknown[0]}: no such setting; there are {', '.join(KEYS)}")
    at, moves, repeat = spec.get("at", WINNERS), spec["moves"], spec.get("repeat")
    if at not in (WINNERS, LAST, DENSE) and not is_whole(at, 0):
        raise LthError(f"method.{name}.at={at!r}: it is {WINNERS}, {LAST}, {DENSE}, or a level")
    if repeat is not None and not is_whole(repeat, 1):
        raise LthError(f"method.{name}.repeat={repeat!r}: a whole number from 1, or null")
    if not isinstance(moves, list) or not moves:
        raise LthError(f"method.{name}.moves={short(moves)}: a list of at least one move")
    made = [(target_of(m).rpartition(".")[2], _move(name, m)) for m in moves]
    return Method(at=at, moves=tuple(made), repeat=repeat)


def _move(name: str, spec: Mapping[str, Any]) -> Any:
    try:
        move = build(spec)
    except LthError as error:
        bare = " needs 'trained'" in str(error)
        hint = "; give what makes it: a function of its settings that returns it" if bare else ""
        raise LthError(f"method.{name}: {error}{hint}") from error
    if not callable(move):
        raise LthError(
            f"method.{name}: {target_of(spec)} gave a {type(move).__name__}, which is no move: a "
            "factory returns a function of the trained member and the context"
        )
    return move

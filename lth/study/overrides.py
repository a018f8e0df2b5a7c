"""The command's overrides that name another factory: a preset's arguments are not its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lth.errors import LthError
from lth.spec.build import locate, parameters_of
from lth.spec.plain import at
from lth.study.sweep import parse

TARGET = "_target_"

KEPT = (TARGET, "_partial_", "copies")
"""What is no argument of a factory."""


def freed(config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Drop what a preset said to the factory that it names, where an override names another one.

    ``recipe.loss._target_=mine.loss`` leaves no ``label_smoothing`` to a loss that takes none. What
    the new factory takes as well stays, and so does all that the user gives.
    """
    given = list(_given(overrides))
    for path in [key.removesuffix(f".{TARGET}") for key in given if key.endswith(f".{TARGET}")]:
        node = at(config, path)
        if (accepted := _accepted(node)) is None:
            continue
        for name in list(node):
            own = any(f"{key}.".startswith(f"{path}.{name}.") for key in given)
            if not own and name not in (*accepted, *KEPT):
                del node[name]
    return config


def named_by(overrides: Sequence[str], group: str) -> str | None:
    """Return what a choice is called whose factory an override names, as ``lth.run`` calls it."""
    for override in map(parse, overrides):
        if override is not None and override.get_key_element() == f"{group}.{TARGET}":
            return str(override.value()).rpartition(".")[2]
    return None


def _given(overrides: Sequence[str]) -> Iterator[str]:
    """Yield the dotted names of all that overrides set, also inside of a mapping."""
    for override in map(parse, overrides):
        if override is not None and not override.is_delete():
            yield from _inside(override.key_or_group, override.value())


def _inside(key: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield key
        return
    for name, inner in value.items():
        yield from _inside(f"{key}.{name}", inner)


def _accepted(node: Any) -> list[str] | None:
    """Return what a spec's factory takes; None where there is none, which is told later."""
    try:
        return list(parameters_of(node[TARGET], locate(node[TARGET])))
    except (LthError, KeyError, TypeError):
        return None

"""Weights by name: shell-style patterns of them or of their modules."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from lth.spec.argument_types import is_whole


def module_of(weight: str) -> str:
    """Return the module that a weight is of.

    >>> module_of("encoder.1.weight")
    'encoder.1'
    """
    return weight.rpartition(".")[0]


def fits(pattern: str, weight: str) -> bool:
    """Whether a pattern is of a weight, or of the module that has it.

    >>> fits("fc1", "fc1.weight"), fits("fc?.weight", "fc1.weight"), fits("fc", "fc1.weight")
    (True, True, False)
    """
    return (
        pattern == weight or fnmatchcase(weight, pattern) or fnmatchcase(module_of(weight), pattern)
    )


def names_in_text(given: Any) -> Any:
    """Return a list of names with numbers as text: YAML reads ``1``, a Sequential's, as one."""
    if is_whole(given, 0):
        return str(given)
    if isinstance(given, list | tuple):
        return [str(n) if is_whole(n, 0) else n for n in given]
    return given

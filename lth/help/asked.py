"""What is answered to ``--help``, ``--version``, and to a setting that there is not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lth.config import compose
from lth.help.layout import terminal_width
from lth.help.overview import overview
from lth.help.topics import topic
from lth.help.words import VALUED
from lth.known import GROUPS, SEVERAL
from lth.near import inside, meant
from lth.presets import choices, offered


def answer(arguments: Sequence[str], own: Path | None = None) -> str:
    """Return the whole help, or what there is to say of the names beside the flag."""
    width, names = terminal_width(), list[str]()
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument.startswith("-") and before not in VALUED:
            names.append(argument)
    return "\n\n".join(topic(name, width, own) for name in names) or overview(width, own)


def versions() -> str:
    """Return the versions of this package and of what its numbers depend on."""
    try:
        torch = version("torch")  # importing it takes seconds
    except PackageNotFoundError:
        torch = "missing"
    mine = sys.modules["lth"].__version__  # no room may import the whole
    return f"lth {mine} (torch {torch}, Python {sys.version.split()[0]})"


def near(key: str, arguments: Sequence[str], own: Path | None = None) -> str:
    """Say what an unknown setting may have meant, beside the choices that the command names."""
    overrides = [argument.lstrip("+").partition("=") for argument in arguments]
    chosen: dict[str, Any] = {g: n for g, _, n in overrides if g in GROUPS and n in choices(g)}
    for group, _, text in overrides:
        if group in SEVERAL and text.startswith("["):
            names = [name.strip() for name in text.strip("[]").split(",")]
            chosen[group] = [name for name in names if name in offered(group, own)]
    values = compose(own, **chosen)
    return inside(key, values, own) if "." in key else meant(key, [*values, "experiment"], own)

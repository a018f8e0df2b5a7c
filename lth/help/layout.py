"""Text laid out in the columns that the terminal has."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence

LEAST, MOST = 40, 110
"""Columns that help is laid out in, at least and at most."""

NARROW = 64
"""Below so many columns a remark stands below what it is about, not beside it."""


def terminal_width() -> int:
    """Return the columns of the terminal (or what COLUMNS says), 80 where there is none."""
    return max(LEAST, min(MOST, shutil.get_terminal_size((80, 24)).columns))


def paragraph(text: str, width: int, indent: int = 0, hanging: int = 0) -> str:
    r"""Wrap one paragraph between words; a word that is longer than a line stays whole.

    >>> paragraph("one two three", 9, hanging=2)
    'one two\n  three'
    """
    first = " " * indent
    return textwrap.fill(
        " ".join(text.split()), width, initial_indent=first,
        subsequent_indent=first + " " * hanging, break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def paragraphs(text: str, width: int, indent: int = 0) -> str:
    """Wrap paragraphs apart; one with lines that are set in (a list, code, a formula) stays."""
    parts = [p for p in text.strip("\n").split("\n\n") if p.strip()]
    parts = [p for p in parts if not p.startswith(">>>")]
    return "\n\n".join(_block(part, width, indent) for part in parts)


def plainly(text: str) -> str:
    """Return a docstring without its marks: ``x`` stands as `x`."""
    return text.replace("``", "`")


def _block(text: str, width: int, indent: int) -> str:
    lines = text.splitlines()
    if any(line.startswith((" ", "* ", "- ")) for line in lines):
        return "\n".join(_set_in(line, width, indent) for line in lines)
    return paragraph(text, width, indent)


def _set_in(line: str, width: int, indent: int) -> str:
    own = indent + len(line) - len(line.lstrip())
    fits = own + len(line.strip()) <= width
    return " " * indent + line if fits else paragraph(line, width, own, 2)


def rows(pairs: Iterable[Sequence[str]], width: int, indent: int = 2) -> str:
    """Lay out names and remarks in two columns; in a narrow terminal remarks below names."""
    pairs = [(name, text) for name, text in pairs]
    room = 2 * width // 5
    fitting = [len(name) for name, text in pairs if text and len(name) <= room]
    column = indent + max(fitting, default=0) + 2
    return "\n".join(_row(name, text, width, indent, column, room) for name, text in pairs)


def _row(name: str, text: str, width: int, indent: int, column: int, room: int) -> str:
    first = " " * indent + name
    if width >= NARROW and len(name) <= room:
        whole = paragraph(text, width, column)
        return (first.ljust(column) + whole[column:]).rstrip()
    if not text or len(first) + 2 + len(text) <= width:
        return f"{first}  {text}".rstrip()
    return f"{first}\n{paragraph(text, width, indent + 4 if width < NARROW else column)}"

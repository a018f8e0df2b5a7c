"""Settings that cannot be read as they stand: a sweep where there is none, a bracket too many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lth.errors import LthError
from lth.known import SEVERAL, all_groups, default_of, top_level
from lth.near import is_list
from lth.presets import choices, no_choice
from lth.study.sweep import MULTIRUN, parse


def check_readable(words: Sequence[str]) -> None:
    """Refuse a sweep without ``-m``, and what Hydra cannot read, in one line each."""
    several = any(word in MULTIRUN for word in words)
    for word in words:
        key, equals, text = word.partition("=")
        if word.startswith("~"):
            _check_taken_away(word)
        if word.startswith(("-", "~")) or not equals:
            continue
        if not key.strip("+ "):
            raise LthError(f"{word}: settings are name=value")
        found = parse(word)
        if found is None:
            raise LthError(f"{word}: it cannot be read: {_why(word)}")
        if found.is_sweep_override() and not several:
            lists = is_list(key.lstrip("+")) and "(" not in text
            listed = f"give a list, '{key}=[{text}]', or " if lists else ""
            raise LthError(f"{word}: several values: {listed}run a study of each with lth -m")
        if not found.is_sweep_override():
            _check_chosen(key, text, found.value())


def _check_taken_away(word: str) -> None:
    """Refuse to go without what every study has."""
    group = word[1:].partition("=")[0]
    if group in all_groups() and default_of(group):
        none = " (or logger=none)" * (group == "logger")
        raise LthError(f"{word}: a study has one; choose another: {group}=NAME{none}")


def _check_chosen(key: str, text: str, value: Any) -> None:
    """Refuse what names no choice of a group: nothing, a number, several where there is one."""
    name = key.lstrip("+")
    if key == f"+{name}" and (default_of(name) if name in all_groups() else name in top_level()):
        raise LthError(f"{key}={text}: there is one already: {name}={text}")
    if name not in all_groups():
        return
    if value is None or isinstance(value, int | float):
        raise LthError(no_choice(name, text, choices(name)))
    if not isinstance(value, list) or name in ("experiment", "tune"):
        return
    if name == "logger" and not value:
        raise LthError("logger=[]: name some, such as logger=[wandb,csv]; none is logger=none")
    if name not in SEVERAL:
        one = value[0] if value else "NAME"
        raise LthError(
            f"{key}={text}: one at a time: {name}={one}, or a study of each: "
            f"lth -m {name}={','.join(map(str, value or ['NAME']))}"
        )


def _why(word: str) -> str:
    """Say what may be wrong with the brackets and quotes of a setting."""
    for first, last in ("[]", "{}", "()"):
        if word.count(first) != word.count(last):
            fewer = first if word.count(first) < word.count(last) else last
            return f"a {fewer} is missing"
    if any(word.count(mark) % 2 for mark in "'\""):
        return "a quote is missing"
    key, _, text = word.partition("=")
    if text.endswith((",", ",]")) or text.startswith(("(", ",", "[,")):
        inside = ",".join(part.strip() for part in text.strip("[]() ").split(",") if part.strip())
        return f"lists are written '{key}=[{inside}]'"
    return f"text with spaces, commas, = or : has quotes of its own: \"{key}='{text}'\""

"""Settings that cannot be read as they stand: a sweep where there is none, a bracket too many."""

from __future__ import annotations

from collections.abc import Sequence

from lth.errors import LthError
from lth.near import is_list
from lth.study.sweep import MULTIRUN, parse


def check_readable(words: Sequence[str]) -> None:
    """Refuse a sweep without ``-m``, and what Hydra cannot read, in one line each."""
    several = any(word in MULTIRUN for word in words)
    for word in words:
        key, equals, text = word.partition("=")
        if word.startswith(("-", "~")) or not equals:
            continue
        found = parse(word)
        if found is None:
            raise LthError(f"{word}: it cannot be read: {_why(word)}")
        if found.is_sweep_override() and not several:
            lists = is_list(key.lstrip("+")) and "(" not in text
            listed = f"give a list, '{key}=[{text}]', or " if lists else ""
            raise LthError(f"{word}: several values: {listed}run a study of each with lth -m")


def _why(word: str) -> str:
    """Say what may be wrong with the brackets and quotes of a setting."""
    for first, last in ("[]", "{}", "()"):
        if word.count(first) != word.count(last):
            fewer = first if word.count(first) < word.count(last) else last
            return f"a {fewer} is missing"
    if any(word.count(mark) % 2 for mark in "'\""):
        return "a quote is missing"
    key, _, text = word.partition("=")
    return f"text with spaces, commas, = or : has quotes of its own: \"{key}='{text}'\""

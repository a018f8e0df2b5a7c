"""The command's words, looked at before Hydra sees them: what is no setting is told what it is."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from lth.config import ACTIONS
from lth.errors import LthError, nearest
from lth.known import SEVERAL, all_groups, choices_by_name, everywhere, top_level
from lth.near import ELSEWHERE, ending

FLAGS = (
    "-h", "--help", "-m", "--multirun", "--config-dir", "--cfg", "--traceback", "--version",
    "--hydra-help", "--resolve", "--info", "--shell-completion", "--package", "--config-path",
    "--config-name", "--run", "--experimental-rerun", "-c", "-p", "-r", "-sc", "-cp", "-cn", "-cd",
    "-i",
)  # fmt: skip
"""Flags that there are: this command's, and Hydra's."""

SAID = {
    "-v": "--version tells the versions, --traceback shows where an error comes from",
    "--verbose": "--traceback shows where an error comes from",
    "--dry-run": "action=plan says what would be trained",
    "--list": "--help lists every group and its choices",
}

VALUED = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--cfg", "-c",
          "--package", "-p", "--info", "-i")  # fmt: skip
"""Flags that the next word may belong to."""


def check_words(words: Sequence[str], own: Path | None = None) -> None:
    """Refuse a word that is neither a flag nor ``name=value``, and say what it may have meant."""
    after = dict(zip(range(len(words)), [*words[1:], ""], strict=False))
    for place, word in enumerate(words):
        if place and words[place - 1] in VALUED:
            continue
        if word.startswith("-"):
            _check_flag(word, after[place], own)
        elif "=" not in word and not word.startswith("~"):
            raise LthError(f"{word}: {_bare(word, after[place], own)}")


def _check_flag(word: str, following: str, own: Path | None) -> None:
    name, equals, value = word.partition("=")
    if name in FLAGS:
        return
    setting = name.lstrip("-").replace("-", "_") if name.startswith("--") else ""
    if setting and (place := _setting(setting, own)):
        value = value if equals else following or "VALUE"
        raise LthError(f"{word}: settings have no dashes: {place}={value}")
    hint = f"; {SAID[name]}" if name in SAID else nearest(name, [f for f in FLAGS if f[:2] == "--"])
    raise LthError(f"{word}: no such flag{hint}")


def _setting(name: str, own: Path | None) -> str:
    """Return the full place of a setting or a group; nothing where there is none."""
    if name in all_groups() or name in top_level() or name in everywhere(own):
        return name
    groups = [g for g in all_groups() if g.endswith(f"/{name}")]
    told = ELSEWHERE.get(name, "").partition(" ")[0]
    return told or next(iter(groups or ending(name, own)), "")


def _bare(word: str, following: str, own: Path | None) -> str:
    """Say what a word alone may have meant: an action, a choice, a setting without its =."""
    if word in ACTIONS:
        return f"settings are name=value: did you mean action={word}?"
    if word in ("help", "version"):
        return f"did you mean --{word}?"
    if place := _setting(word, own):
        alone = not following or "=" in following or following.startswith("-")
        return f"it needs a value: {place}={'VALUE' if alone else following}"
    names = {n: [_given(*place) for place in places] for n, places in _choices(own).items()}
    if word in names:
        return f"settings are name=value: did you mean {' or '.join(names[word][:4])}?"
    whole = {name: given[0] for name, given in names.items()}
    whole |= {name: f"{name}=" for name in (*all_groups(), *top_level(), *everywhere(own))}
    whole |= {name: f"action={name}" for name in ACTIONS}
    close = difflib.get_close_matches(word, whole, 1)
    hint = f": did you mean {whole[close[0]]}?" if close else "; lth --help shows which there are"
    return f"settings are name=value{hint}"


def _choices(own: Path | None) -> dict[str, list[tuple[str, str]]]:
    """Return (group, choice) of every name, experiments last: other names come to mind first."""
    found = choices_by_name(own)
    return {n: sorted(p, key=lambda place: place[0] == "experiment") for n, p in found.items()}


def _given(group: str, name: str) -> str:
    return f"'{group}=[{name}]'" if group in SEVERAL else f"{group}={name}"

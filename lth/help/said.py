"""What is said of a setting somewhere, and which papers a text cites."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lth.errors import LthError
from lth.help.comments import remarks
from lth.help.factory import described
from lth.known import OF_SETTINGS, SEVERAL, Setting, all_groups, of_choice
from lth.presets import conf_folder, folders, no_choice, offered

USUAL = {
    "copies": "drawn per trial; they are averaged within it",
    "at": "what the moves begin at: dense, winners (every level's ticket), last, or a level",
    "repeat": "how often the moves are gone through, a level each; null: at every level",
    "input_shape": "null: the data's",
    "classes": "null: the data's",
    "outputs": "null: the data's",
}
"""Remarks on what many choices have."""

PLACE = r"(?:Sections?|Appendix|Appendices|Figures?|Tables?|Algorithms?|Eq\.|Equation|Strategy)"

SOURCE = re.compile(
    r"[A-Z][\w'-]+(?:,? (?:(?:&|and) )?[A-Z][\w'-]+)*(?: et al\.)? \(?\d{4}[a-z]?\b"
    r"(?:[;,]? \(?(?:arXiv )?\d{4}\.\d{4,5})?"
    rf"(?:(?:[;,]| and)? {PLACE} [A-Z\d][\w.]*(?: and \d[\w.]*)?)*"
)
"""A citation: ``Evci et al. 2020, arXiv 1911.11134, Section 3 and Algorithm 1``."""


def path_of(group: str, name: str, own: Path | None) -> Path:
    """Return the file of a choice, the user's own before the package's."""
    found = (p for f in folders(own) if (p := f / group / f"{name}.yaml").is_file())
    path = next(found, None)
    if path is None:
        raise LthError(no_choice(group, name, offered(group, own)))
    return path


def remark(group: str, setting: Setting, own: Path | None, path: Path | None = None) -> str:
    """Return what is said of a setting: in its own file, of its like in another, by its factory.

    Presets say once what several of them set.
    """
    if path is not None and (text := _beside(group, path).get(setting.place)):
        return text
    if setting.name in USUAL:
        return USUAL[setting.name]
    said, of = _said(group, own), (setting.target, setting.name)
    alike = setting.place if setting.target in ("", *OF_SETTINGS.values()) else ""
    factory = described(setting.target) if setting.target else None
    words = about(setting.name, factory.doc) if factory is not None else ""
    return said.get((*of, str(setting.value))) or said.get(alike) or words or said.get(of, "")


def _beside(group: str, path: Path) -> dict[str, str]:
    """Return the remarks of a file by the places of its settings in a configuration."""
    several = group.partition("/")[0] in SEVERAL
    outer = "" if group in ("task", "experiment") else group if several else group.replace("/", ".")
    return {f"{outer}.{k}".lstrip("."): text for k, text in remarks(path).items()}


@functools.lru_cache(maxsize=64)
def _said(group: str, own: Path | None) -> dict[Any, str]:
    """Return the remarks of all files of a group and inside it: by place, factory and argument."""
    found: dict[Any, str] = {}
    for each in (g for g in all_groups() if g.partition("/")[0] == group.partition("/")[0]):
        for name in offered(each, own):
            beside = _beside(each, path_of(each, name, own))
            for setting in of_choice(each, name, own):
                if text := beside.get(setting.place):
                    of = (setting.target, setting.name)
                    for key in (setting.place, of, (*of, str(setting.value))):
                        found.setdefault(key, text)
    top = remarks(conf_folder() / "config.yaml")
    return found | {k: text for k, text in top.items() if text}


def about(name: str, doc: str) -> str:
    """Return the sentence of a docstring that speaks of an argument.

    >>> about("power", "Scale. ``power`` is the exponent. Done.")
    '``power`` is the exponent.'
    """
    sentences = re.split(r"(?<=[.;])\s+", " ".join(doc.split()))
    return next((s for s in sentences if f"``{name}``" in s), "")


def sources(texts: Iterable[str]) -> list[str]:
    """Return the papers that texts cite, the fullest citation of each.

    >>> sources(["RigL (Evci et al. 2020).", "Evci et al. 2020, arXiv 1911.11134, Section 3."])
    ['Evci et al. 2020, arXiv 1911.11134, Section 3']
    """
    found: dict[tuple[str, str], str] = {}
    for text in texts:
        for match in SOURCE.finditer(" ".join(text.split())):
            cited = match[0].replace(" (", " ").replace(" arXiv", ", arXiv").replace(",,", ",")
            year = re.search(r"\d{4}", cited)
            paper = re.split(r"[ ,]", cited)[0], year[0] if year else ""
            if len(cited) > len(found.get(paper, "")):
                found[paper] = cited.rstrip(" .;,")
    return list(found.values())

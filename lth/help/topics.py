"""``lth --help NAME``: what a group, a choice or a setting is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lth.config import ACTIONS
from lth.errors import LthError, nearest
from lth.help.choice import choice, shown, source
from lth.help.comments import head
from lth.help.factory import described
from lth.help.layout import paragraph, paragraphs, plainly, rows
from lth.help.said import path_of, remark
from lth.known import (
    GROUPS,
    SEVERAL,
    all_groups,
    choices_by_name,
    default_of,
    everywhere,
    of_choice,
    top_level,
)
from lth.presets import offered

DO = {
    "run": "train what is missing, draw the figures, show the table and the verdict",
    "plan": "say what would be trained, and how long it takes",
    "plot": "draw the figures and show the table again, from the records",
    "explain": "say why members are, or are not, the same as stored ones",
    "analyse": "look at masks, signs, movement and connectivity of what is trained",
    "compare": "show the methods of several studies side by side: studies=[folders, patterns]",
    "fit": "choose a setting for a budget: fit.knob, fit.values, fit.budget",
    "list": "show the studies that there are, what they are and take",
    "clean": "say what of them and of the store can be freed (clean.studies=[old-*], "
    "clean.older=DAYS); clean.delete=true frees it",
    "sweep": "show the table and the figure of a sweep's folder again: studies=[folder]",
}
"""What each action does."""


def topic(word: str, width: int, own: Path | None = None) -> str:
    """Return what there is to say of a name; of one that nothing has, what it may have meant."""
    word = word.strip("'\"").lstrip("+~")
    key, equals, value = word.partition("=")
    if key == "action":
        return _action(value, width)
    names = [n.strip(" '\"") for n in value.strip("[] ").split(",")]
    if equals and key in all_groups() and all(names):
        return "\n\n".join(choice(key, name, width, own) for name in names)
    return _named(key, width, own)


def _named(name: str, width: int, own: Path | None) -> str:
    if name in all_groups():
        return _group(name, width, own)
    if found := _as_choice(name, own):
        return choice(*found, width, own)
    if name in top_level() or name in everywhere(own, name.partition(".")[0]):
        return _setting(name, width, own)
    inside = [n for n in offered("experiment", own) if n.startswith(f"{name.rstrip('/')}/")]
    if inside:
        return _folder(name.rstrip("/"), inside, width, own)
    places = choices_by_name(own).get(name, [])
    if len(places) == 1:
        return choice(*places[0], width, own)
    if places:
        pairs = [(f"{group}={named}", _first(group, named, own)) for group, named in places]
        return f"{name}: of several groups\n\n{rows(pairs, width)}"
    return _by_ending(name, width, own)


def _as_choice(name: str, own: Path | None) -> tuple[str, str] | None:
    """Return the group and the choice of ``arms.rigl``, ``recipe/optimizer/adam``."""
    path = name.replace(".", "/")
    for group in all_groups():
        chosen = path.removeprefix(f"{group}/")
        if chosen != path and chosen in offered(group, own):
            return group, chosen
    return None


def _by_ending(name: str, width: int, own: Path | None) -> str:
    """Describe the settings that a name is the end of, or begins: ``lr``, ``recipe.optimizer``."""
    known = everywhere(own)
    inside = [p for p in known if p.startswith(f"{name}.")]
    if inside:
        return _inside(name, inside, width, own)
    if groups := [g for g in all_groups() if g.endswith(f"/{name}")]:
        return _group(groups[0], width, own)
    ends = [p for p in known if p.endswith(f".{name}")]
    shortest = min((p.count(".") for p in ends), default=0)
    if not ends:
        raise LthError(f"--help {name}: no such group, choice or setting{_near(name, own)}")
    return "\n\n".join(_setting(p, width, own) for p in ends if p.count(".") == shortest)


def _near(name: str, own: Path | None) -> str:
    group = name.partition(".")[0]
    inner = [f"{g}.{n}" for g in GROUPS for n in offered(g, own)]
    known = dict.fromkeys(
        [*all_groups(), *choices_by_name(own), *top_level(), *everywhere(own), *inner]
    )
    if group in GROUPS:
        known = dict.fromkeys(k for k in known if k.startswith(f"{group}."))
    hint = nearest(name, known)
    there = "; lth --help lists every group and its choices"
    return hint if hint.startswith("; did you mean") else there


def _action(value: str, width: int) -> str:
    pairs = [(f"action={a}", DO.get(a, "")) for a in ACTIONS if value in ("", a)]
    if not pairs:
        raise LthError(f"--help action={value}: no such action{nearest(value, ACTIONS)}")
    return f"action: what the command does (default: run)\n\n{rows(pairs, width)}"


def _group(group: str, width: int, own: Path | None) -> str:
    """List the choices of a group, each with the first line of its file."""
    names = offered(group, own)
    use = f"'{group}=[NAME,...]'" if group in SEVERAL else f"{group}=NAME"
    default = default_of(group)
    lines = [use + (f"  (default: {default})" if default else ""), ""]
    lines += [rows([(n, _first(group, n, own)) for n in names], width), ""]
    for inside in (g for g in all_groups() if g.startswith(f"{group}/")):
        lines.append(f"  inside of it: lth --help {inside}")
    return "\n".join([*lines, f"  more of one: lth --help {group}={names[0]}" if names else ""])


def _first(group: str, name: str, own: Path | None) -> str:
    return head(path_of(group, name, own)).partition("\n")[0]


def _folder(name: str, names: Sequence[str], width: int, own: Path | None) -> str:
    pairs = [(n, _first("experiment", n, own)) for n in names]
    return f"experiment={name}/NAME\n\n{rows(pairs, width)}"


def _setting(place: str, width: int, own: Path | None) -> str:
    """Say what a setting is, what its value is, and which choices have which."""
    group = place.partition(".")[0]
    known = everywhere(own, group)
    if place not in known:
        return _inside(place, [p for p in known if p.startswith(f"{place}.")], width, own)
    setting = known[place]
    parts = [f"{place}={shown(setting.value)}"]
    if text := remark(group, setting, own):
        parts.append(paragraph(plainly(text), width, 2))
    factory = described(setting.target) if setting.target else None
    if factory is not None and factory.doc:
        doc = paragraphs(plainly(factory.doc), width, 4)
        parts.append(f"  an argument of {setting.target}\n{doc}")
    having = _values(place, group, own)
    if len(having) > 1:
        parts.append(f"Its value in every {group} that has it:\n{rows(having, width)}")
    texts = [factory.doc, *factory.behind] if factory is not None else []
    return "\n\n".join([*parts, *source(texts, width)])


def _inside(place: str, inside: Sequence[str], width: int, own: Path | None) -> str:
    """List the settings below a place."""
    known, group = everywhere(own), place.partition(".")[0]
    pairs = [
        (f"{p}={shown(known[p].value)}", plainly(remark(group, known[p], own))) for p in inside
    ]
    return f"{place}\n\n{rows(pairs, width)}"


def _values(place: str, group: str, own: Path | None) -> list[tuple[str, str]]:
    """Return what a setting is in the choices of its group."""
    if group not in GROUPS or group in SEVERAL:
        return []
    return [
        (f"{group}={name}", shown(setting.value))
        for name in offered(group, own)
        for setting in of_choice(group, name, own)
        if setting.place == place
    ]

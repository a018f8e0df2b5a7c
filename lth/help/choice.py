"""What a choice of a group is: its file's head, its factories, their arguments, their sources."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lth.help.comments import head
from lth.help.factory import Factory, described
from lth.help.layout import paragraph, paragraphs, plainly, rows
from lth.help.said import about, path_of, remark, sources
from lth.known import OF_SETTINGS, SEVERAL, Setting, of_choice
from lth.presets import load


def choice(group: str, name: str, width: int, own: Path | None = None) -> str:
    """Describe a choice of any group."""
    path = path_of(group, name, own)
    if group == "experiment":
        return _experiment(name, path, width, own)
    use = f"'{group}=[{name}]'" if group in SEVERAL else f"{group}={name}"
    parts = [use, described_head(head(path), width)]
    texts = [head(path)]
    for place, settings in _by_place(of_choice(group, name, own)).items():
        target = settings[0].target
        factory = described(target) if target else None
        parts.append(_spec(group, place, settings, factory, width, own, path))
        texts += [factory.doc, *factory.behind] if factory is not None else []
    for target in _without_settings(load(group, name, own)):
        factory = described(target)
        if factory is not None:
            parts.append(_told(target, factory, width))
            texts += [factory.doc, *factory.behind]
    return "\n\n".join([*(p for p in parts if p), *source(texts, width)])


def source(texts: Sequence[str], width: int) -> list[str]:
    """Return a paragraph with the papers that texts cite, nothing where they cite none."""
    found = "; ".join(sources(texts))
    return [paragraph(f"Source: {found}", width, 0, 8)] if found else []


def described_head(text: str, width: int) -> str:
    """Lay out the comment that a file begins with: sentences, then ``Claim: ...`` by its word."""
    entries: list[list[str]] = []
    for line in text.splitlines():
        match = re.match(r"([A-Z]\w+): +(.*)$", line)
        if match or not entries:
            entries.append([match[1] + ":", match[2]] if match else ["", line])
        elif entries[-1][0] == "Command:":
            entries.append(["", line.strip()])
        else:
            entries[-1][1] += f" {line.strip()}"
    first = [paragraph(e[1], width, 2) for e in entries[:1] if not e[0]]
    pairs = [(e[0], e[1]) for e in entries[len(first) :]]
    return "\n".join([*first, rows(pairs, width)] if pairs else first)


def _by_place(settings: Sequence[Setting]) -> dict[str, list[Setting]]:
    """Gather settings by the factory they are arguments of, in their order."""
    found: dict[str, list[Setting]] = {}
    for setting in settings:
        found.setdefault(setting.place.rpartition(".")[0], []).append(setting)
    return dict(sorted(found.items(), key=lambda item: item[0].count(".")))


def _spec(
    group: str, place: str, settings: Sequence[Setting], factory: Factory | None, width: int,
    own: Path | None, path: Path,
) -> str:  # fmt: skip
    """Describe the settings at one place, and the factory that takes them."""
    target = settings[0].target
    named = factory is not None and target not in OF_SETTINGS.values()
    made = f"{target}  ({factory.place})" if named and factory and factory.place else target
    lines = [place, *[paragraph(made, width, 4)] * (target not in ("", *OF_SETTINGS.values()))]
    if named and factory is not None and factory.doc:
        lines.append(paragraphs(plainly(factory.doc), width, 4))
    pairs = [(f"{s.name}={shown(s.value)}", plainly(remark(group, s, own, path))) for s in settings]
    lines.append(rows(pairs, width))
    if more := _left_out(settings, factory, path, own, group):
        lines.append(rows(more, width))
    return "\n".join(lines)


def _left_out(
    settings: Sequence[Setting], factory: Factory | None, path: Path, own: Path | None, group: str
) -> list[tuple[str, str]]:
    """Return the arguments that the YAML leaves at their defaults: Hydra wants a + before them."""
    target = settings[0].target
    if factory is None or target in OF_SETTINGS.values():
        return []
    place = settings[0].place.rpartition(".")[0]
    given = {s.place.removeprefix(f"{place}.").partition(".")[0]
             for s in of_choice(group, path.stem, own)}  # fmt: skip
    return [
        (f"+{name}={_yaml(default)}", plainly(about(name, factory.doc)))
        for name, default in factory.arguments.items()
        if name not in given and default is not None and not default.isupper()
    ]


def _yaml(default: str) -> str:
    words = {"None": "null", "True": "true", "False": "false"}
    return words.get(default, default).strip("'")


def _told(target: str, factory: Factory, width: int) -> str:
    text = paragraphs(plainly(factory.doc), width, 4)
    return f"{target}\n{text}" if factory.doc else ""


def _without_settings(values: Any) -> list[str]:
    """Return the factories that are given nothing, so that no setting names them."""
    found: dict[str, None] = {}
    if isinstance(values, dict):
        target, given = values.get("_target_"), [k for k in values if k != "_target_"]
        if target and not any(not isinstance(values[k], dict) for k in given):
            found[str(target)] = None
        for value in values.values():
            found |= dict.fromkeys(_without_settings(value))
    elif isinstance(values, list):
        for value in values:
            found |= dict.fromkeys(_without_settings(value))
    return list(found)


def _experiment(name: str, path: Path, width: int, own: Path | None) -> str:
    """Say what an experiment claims and costs, as its head does, and what it sets."""
    values = load("experiment", name, own)
    entries = [e for e in values.get("defaults", []) if isinstance(e, dict)]
    chosen = [f"{k.removeprefix('override /')}={shown(v)}" for e in entries for k, v in e.items()]
    settings = [f"{s.place}={shown(s.value)}" for s in of_choice("experiment", name, own)]
    given = paragraph("  ".join([*chosen, *settings]), width, 2)
    parts = [f"experiment={name}", described_head(head(path), width), f"It sets:\n{given}"]
    return "\n\n".join([*parts, *source([head(path)], width)])


def shown(value: Any) -> str:
    """Write a value as YAML and the command line have it.

    >>> shown([1, None, {"a": True}])
    '[1,null,{a:true}]'
    """
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(shown, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{shown(v)}" for k, v in value.items()) + "}"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)

"""What a YAML says of itself: its head, and the remark beside every key."""

from __future__ import annotations

import re
from pathlib import Path

KEY = re.compile(r"^(?P<indent> *)(?P<item>- )?(?P<key>[\w/*\"'-]+):(?P<rest>.*)$")

REMARK = re.compile(r"(?:^|\s)#\s(.*)$")


def head(path: Path) -> str:
    """Return the comment that a file begins with, without what is Hydra's."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line[1:].removeprefix(" "))
    return "\n".join(lines)


def remarks(path: Path) -> dict[str, str]:
    """Return the remark beside every key, by its dotted place: ``{"rigl.every": "steps ..."}``.

    A remark goes on in the lines below that hold nothing else.
    """
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    last, began = "", False
    for line in path.read_text(encoding="utf-8").splitlines():
        remark = REMARK.search(line)
        if line.lstrip().startswith("#"):
            if began and remark and found.get(last) and line.startswith(" "):
                found[last] += f" {remark[1]}"
            continue
        match = KEY.match(line)
        if match is None:
            continue
        began, last = True, _place(above, match, found)
        if remark:
            found[last] = remark[1].strip()
    return found


def _place(above: list[tuple[int, str]], match: re.Match[str], found: dict[str, str]) -> str:
    """Return where a key stands, and remember it for those below it."""
    depth, key = len(match["indent"]), match["key"].strip("\"'")
    while above and above[-1][0] >= depth + (1 if match["item"] else 0):
        above.pop()
    if match["item"]:
        while above and above[-1][0] >= depth:
            above.pop()
        place = ".".join(k for _, k in above)
        number = len({k.split(".")[place.count(".") + 1] for k in found if _below(k, place)})
        above.append((depth, str(number)))
        depth += 2
        found.setdefault(f"{place}.{number}", "")
    above.append((depth, key))
    return ".".join(k for _, k in above)


def _below(key: str, place: str) -> bool:
    rest = key.removeprefix(f"{place}.")
    return rest != key and rest.split(".")[0].isdecimal()

"""Write the pages of the site that are made of other things in the repository.

The README's sections, CONTRIBUTING, the changelog and the ledgers are taken as they are, with their
links turned to the site's pages; every choice in conf/ gets a page of its YAML and its docstring.
"""

from __future__ import annotations

import importlib
import inspect
import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lth import presets
from lth.help.comments import head

ROOT = Path(__file__).resolve().parents[1]

# group of conf/ -> (title, what its members are, how one is chosen)
GROUPS = {
    "arms": ("Arms", "What a member of the comparison starts from.", "'arms=[winning_ticket,{}]'"),
    "score": ("Scores", "What a weight is worth: the higher, the longer it stays.", "score={}"),
    "rewind": ("Rewinding rules", "Where a ticket's weights go back to.", "rewind={}"),
    "prune": ("Selection rules", "How many weights go, and among which they compete.", "prune={}"),
    "search": ("Searches", "How masks are found.", "search={}"),
    "method": ("Methods", "Lists of moves that go on from what is trained.", "method=[{}]"),
    "model": ("Networks", "What is trained and pruned.", "model={}"),
    "data": ("Data sets", "What it is trained on.", "data={}"),
    "recipe": ("Recipes", "How it is trained.", "recipe={}"),
    "recipe/optimizer": ("Optimizers", "Which optimizer.", "recipe/optimizer={}"),
    "recipe/schedule": ("Schedules", "How the rate changes.", "recipe/schedule={}"),
    "logger": ("Loggers", "Where a study is told of.", "logger={}"),
    "trainer": ("Trainers", "On what it is trained.", "trainer={}"),
    "task": ("Tasks", "What kind of thing is trained.", "task={} ..."),
    "tune": ("Searches of settings", "What a sweeper looks for.", "tune={}"),
    "hydra/launcher": ("Launchers", "Where the jobs of a sweep run.", "-m hydra/launcher={} ..."),
    "experiment": ("Experiments", "A paper's figure, with one command.", "experiment={}"),
}

# parts of the README that are pages: name -> (title, headings)
README = {
    "start": ("Getting started", ["Two commands", "Five minutes"]),
    "lightning": ("In your own Lightning loop", ["In your own Lightning loop"]),
    "task": ("A LightningModule of your own", [
        "A LightningModule of your own in the whole framework"]),
    "results": ("Reading the results", ["Reading the results"]),
    "trust": ("Why believe it, and how fast it is", ["Why believe it", "How fast"]),
    "extending": ("Extending it", [
        "Extending it", "A method of your own", "Measures, losses, views"]),
    "small": ("Every way to a small network", ["Every way to a small network"]),
}  # fmt: skip

# pages that are a file of the repository: name on the site -> the file
FILES = {
    "ledger": "experiments/README.md",
    "ledger-lightning": "experiments/lightning/README.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
}

# what of the package is documented name by name: title, module, names (none: what `__all__` says)
API: dict[str, tuple[str, list[str]]] = {
    "lth": ("lth: run a study, read it", ["lth"]),
    "lightning": ("lth.lightning: in a Lightning loop", ["lth.lightning"]),
    "data": ("lth.data: data sets", ["lth.data"]),
    "models": ("lth.models: networks", ["lth.models"]),
    "recipe": ("lth.recipe: losses, measures, schedules", [
        "lth.recipe.loss", "lth.recipe.measures", "lth.recipe.schedule"]),
    "pruning": ("lth.pruning: scores, rules, searches, rewinding", [
        "lth.pruning.score", "lth.pruning.rules", "lth.pruning.rewind", "lth.pruning.search",
        "lth.pruning.dynamic"]),
    "arms": ("lth.arms: what members start from", ["lth.arms"]),
    "moves": ("lth.moves: what methods are made of", ["lth.moves"]),
    "networks": ("lth.networks: views and other forms", [
        "lth.networks.views", "lth.networks.rewrites"]),
    "figures": ("lth.results.figures: figures", [
        "lth.results.figures", "lth.results.figures.masks"]),
    "packing": ("lth.packing, lth.budget: files and costs", ["lth.packing", "lth.budget"]),
}  # fmt: skip

# what calls give back and is no public name of a module: on the first page of the reference
GIVEN = ["lth.api.results.Results", "lth.api.results.Figures", "lth.study.plan.Plan",
         "lth.study.fit.Fitted", "lth.packing.unpacked.Unpacked"]  # fmt: skip


def write(docs: Path) -> None:
    """Write every generated page below ``docs/generated``; what is there of before goes first."""
    out = docs / "generated"
    shutil.rmtree(out, ignore_errors=True)
    made = {**_readme(), **_files(), **_api()}
    for group in GROUPS:
        made.update(_group(group))
    for name, text in made.items():
        path = out / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    notebooks(out / "notebooks")


def notebooks(folder: Path) -> None:
    """Copy the notebooks, whose links to ``docs/`` lead to the site's pages there."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        text = path.read_text(encoding="utf-8").replace("](../docs/", "](../../")
        (folder / path.name).write_text(text, encoding="utf-8")


# ---- what is taken from files of the repository


def _readme() -> dict[str, str]:
    """Return the README's parts as pages; a heading that says what the title says is left out."""
    sections = dict(_sections((ROOT / "README.md").read_text(encoding="utf-8")))
    found = {}
    for name, (title, headings) in README.items():
        parts = [sections[h] if h == title else f"## {h}\n{sections[h]}" for h in headings]
        found[name] = linked(f"# {title}\n" + "\n".join(parts), "README.md")
    return found


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Yield (title, body) of the sections of the second order."""
    parts = re.split(r"^## (.+)$", text, flags=re.M)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def _files() -> dict[str, str]:
    return {
        name: linked((ROOT / path).read_text(encoding="utf-8"), path)
        for name, path in FILES.items()
    }


def linked(text: str, path: str) -> str:
    """Turn the links of a file of the repository to the site's pages; pictures are copied.

    A link to what is no page (a folder of results, a YAML) becomes the path's name.
    """

    def turn(found: re.Match[str]) -> str:
        mark, words, target = found[1], found[2], found[3]
        if re.match(r"https?://", target):
            return found[0]
        place, _, anchor = target.partition("#")
        there = (
            posixpath.normpath(posixpath.join(posixpath.dirname(path), place)) if place else path
        )
        if mark:
            return f"![{words}]({posixpath.relpath(there, 'docs/generated')})"
        goal = _page_of(there, anchor)
        return f"[{words}]({goal})" if goal else _as_code(words, there)

    return re.sub(r"(!?)\[((?:[^][]|\[[^]]*\])+)\]\(([^)\s]+)\)", turn, text)


def _as_code(words: str, there: str) -> str:
    """Say where something lies that is no page of the site."""
    plain_words = words.strip("`")
    return f"`{there}`" if plain_words in there else f"{words} (`{there}`)"


def _page_of(there: str, anchor: str) -> str | None:
    """Return the site's page, from ``docs/generated``, for a file of the repository."""
    tail = f"#{anchor}" if anchor else ""
    if there == "README.md":
        for page, (title, headings) in README.items():
            if anchor in map(_slug, headings):
                return f"{page}.md" if anchor == _slug(title) else f"{page}.md{tail}"
        return "../index.md"
    named = {path: name for name, path in FILES.items()}
    if there in named:
        return f"{named[there]}.md{tail}"
    if there.startswith("docs/") and there.endswith(".md"):
        return f"../{there.removeprefix('docs/')}{tail}"
    return None


def _slug(title: str) -> str:
    """Return the anchor that a heading gets, as GitHub and MyST write it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


# ---- a page for every choice in conf/


def _group(group: str) -> dict[str, str]:
    """Return a page for each choice of a group, and one that lists them."""
    title, said, chosen = GROUPS[group]
    names = presets.choices(group)
    name_of = group.replace("/", "-")
    rows = [f"| [{n}]({_file(group, n)}.md) | {_escaped(_head(group, n)[0])} |" for n in names]
    toc = "\n".join(f"{_file(group, n)}" for n in names)
    listing = (
        f"# {title}\n\n{said}\n\n| {group}= | |\n|---|---|\n" + "\n".join(rows)
        + f"\n\n```{{toctree}}\n:hidden:\n\n{toc}\n```\n"
    )  # fmt: skip
    found = {f"{name_of}/index": listing}
    for name in names:
        found[f"{name_of}/{_file(group, name)}"] = _choice(group, name, chosen)
    return found


def _file(group: str, name: str) -> str:
    return name.replace("/", "-")


def _head(group: str, name: str) -> list[str]:
    """Return the lines that a YAML opens with, its head; one without has its name."""
    return (head(_path(group, name)) or name).splitlines()


def _path(group: str, name: str) -> Path:
    return presets.conf_folder() / group / f"{name}.yaml"


def _choice(group: str, name: str, chosen: str) -> str:
    """Write the page of one choice: what it is, the command, the YAML, what it calls."""
    opening, path = "\n".join(_head(group, name)), _path(group, name)
    said = f"```text\n{opening}\n```" if "Command:" in opening else _escaped(opening)
    body = re.sub(r"\A(#.*\n)*", "", path.read_text(encoding="utf-8")).strip()
    parts = [f"# {name}", said, f"```console\n$ lth {chosen.format(name)}\n```",
             f"`conf/{group}/{name}.yaml`:", f"```yaml\n{body}\n```"]  # fmt: skip
    for target in _targets(presets.read(path)):
        entry = _entry(target)
        parts += [entry] if entry else []
    return "\n\n".join(parts) + "\n"


def _targets(value: Any) -> list[str]:
    """List the factories of this package that a YAML names, each once, in order."""
    found: list[str] = []
    if isinstance(value, dict):
        target = str(value.get("_target_", ""))
        found += [target] if target.startswith("lth.") else []
        found += [t for v in value.values() for t in _targets(v)]
    elif isinstance(value, list):
        found += [t for v in value for t in _targets(v)]
    return list(dict.fromkeys(found))


def _entry(target: str) -> str:
    """Return what autodoc writes of a factory, without making it an anchor of its own."""
    module, _, name = target.rpartition(".")
    thing = getattr(importlib.import_module(module), name, None)
    if thing is None:
        return ""
    kind = "autoclass" if inspect.isclass(thing) else "autofunction"
    return f"```{{eval-rst}}\n.. {kind}:: {target}\n   :no-index:\n```"


def _escaped(text: str) -> str:
    """Take the marks of Markdown out of a sentence that was written for a YAML."""
    return re.sub(r"([*_|<>$\\\[\]{}])", r"\\\1", text)


# ---- the reference of the package


def _api() -> dict[str, str]:
    found = {}
    for name, (title, modules) in API.items():
        body = "\n\n".join(_module(m) for m in modules)
        found[f"api/{name}"] = f"# {title}\n\n{body}\n"
    entries = "\n".join(_member(*given.rsplit(".", 1)) for given in GIVEN)
    found["api/lth"] += f"\n## What calls give back\n\n```{{eval-rst}}\n{entries}```\n"
    return found


def _module(module: str) -> str:
    """Document a module's public functions and classes, in the order of their names."""
    held = importlib.import_module(module)
    said = (inspect.getdoc(held) or "").split("\n\n")[0]
    entries = [_member(module, n) for n in _public(held)]
    return (
        f"## {module}\n\n{said}\n\n```{{eval-rst}}\n" + "\n".join(e for e in entries if e) + "```"
    )


def _public(module: Any) -> list[str]:
    """Return the names that a module offers; without ``__all__``, what it defines itself."""
    if hasattr(module, "__all__"):
        return [n for n in module.__all__ if inspect.getmodule(getattr(module, n)) is not None]
    return [
        n for n, v in vars(module).items()
        if not n.startswith("_") and getattr(v, "__module__", None) == module.__name__
        and (inspect.isfunction(v) or inspect.isclass(v))
    ]  # fmt: skip


def _member(module: str, name: str) -> str:
    thing = getattr(importlib.import_module(module), name)
    if inspect.isclass(thing):
        inner = "" if issubclass(thing, Exception) else "   :members:\n"
        if _is_wholly_ours(thing):
            inner += "   :inherited-members:\n"
        return f".. autoclass:: {module}.{name}\n{inner}"
    if inspect.isfunction(thing):
        return f".. autofunction:: {module}.{name}\n"
    return ""


def _is_wholly_ours(thing: type) -> bool:
    """Whether all that a class inherits is of this package: what is of a library is its matter."""
    bases = [base.__module__ for base in thing.__mro__[1:-1]]
    return bool(bases) and all(module.partition(".")[0] == "lth" for module in bases)


if __name__ == "__main__":
    write(Path(__file__).resolve().parent)

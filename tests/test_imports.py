"""Law 8: imports go one way, and each heavy library enters through its own door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "lth").rglob("*.py"))

DOORS = {
    "pytorch_lightning": [
        "lth.train.module",
        "lth.train.trainer_options",
        "lth.lightning",
        "lth.loggers.tensorboard",
    ],
    "hydra": ["lth.cli", "lth.study.sweep"],
    "omegaconf": [
        "lth.cli",
        "lth.config",
        "lth.presets",
        "lth.study.run",
        "lth.study.callback",
        "lth.store.study",
    ],
    "wandb": ["lth.loggers.weights_and_biases"],
    "matplotlib": ["lth.results.figures", "lth.api.results"],
    "sklearn": ["lth.data.digits"],
    "pooch": ["lth.data.fetch"],
    "PIL": ["lth.data.folder", "lth.loggers"],
    "pandas": ["lth.records.frames", "lth.store.study", "lth.api.results"],  # types in the latter
    "IPython": ["lth.api.display", "lth.api.results"],
}
"""By library: the modules, or rooms, that may import it."""

ROOMS = [
    "errors", "interrupt", "files", "types", "streams",
    "spec",        # how things are named as data
    "measured",    # what a study is judged by
    "identity",    # what code and data are
    "models", "data", "recipe",
    "networks",    # layers, masks, tickets, what they cost
    "packing",     # networks as files of few bytes
    "records",     # records, statistics, the verdict
    "store",       # trained members, and studies read back
    "pruning",     # scores, rules, searches, rewinding
    "arms",
    "imp",         # the loop
    "moves",       # and what methods make of trained members
    "train",       # the cohort trainer
    "lightning",   # the door for Lightning users
    "budget",      # what networks cost to store and to run
    "presets",
    "listed",      # groups of several choices
    "known", "near", "config", "provenance",
    "help",        # what the command says of itself
    "results",     # analysis, comparison, figures
    "loggers",
    "study",       # a study from its settings to its results
    "api", "cli",
    "", "__main__",
]  # fmt: skip
"""The rooms from the ground up: each imports from those before it, and from itself."""

PURE = (
    "errors",
    "types",
    "streams",
    "spec",
    "models",
    "recipe",
    "networks",
    "packing",
    "pruning",
    "arms",
    "moves",
)
"""Rooms that know no heavy library at all."""


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Every module that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module
            if node.module == "lth":
                yield from (f"lth.{alias.name}" for alias in node.names)
            else:
                yield node.module


def part(module):
    """``lth.train.job`` -> ``train``."""
    return [*module.split("."), ""][1]


MODULES = {name_of(p) for p in FILES}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_libraries_enter_through_their_own_door(path):
    for module in imports(path):
        door = DOORS.get(module.split(".")[0])
        assert door is None or behind(name_of(path), door), f"{name_of(path)} imports {module}"


def behind(name, doors):
    return any(name == door or name.startswith(f"{door}.") for door in doors)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_room_knows_only_the_rooms_below_it(path):
    mine = part(name_of(path))
    assert mine in ROOMS, f"give {mine} a place among the rooms of this test"
    for module in imports(path):
        if module.split(".")[0] == "lth" and part(module) != mine:
            assert ROOMS.index(part(module)) < ROOMS.index(mine), (
                f"{name_of(path)} imports {module}"
            )


def inner(path):
    """The modules of lth that a file imports, ``from lth.room import module`` among them."""
    names = {name_of(p) for p in FILES}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (n if n in names else node.module for n in below)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def circles(graph):
    """Follow every import; return a way that comes back to where it began, if there is one."""
    done = set()

    def walk(module, way):
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return None
        for other in graph.get(module, ()):
            if circle := walk(other, [*way, module]):
                return circle
        done.add(module)
        return None

    return next((c for m in graph if (c := walk(m, []))), None)


def test_no_module_comes_back_to_itself_through_its_imports():
    """Also inside a room, and by imports inside of functions."""
    graph = {
        name_of(p): sorted({m for m in inner(p) if m in MODULES} - {name_of(p)}) for p in FILES
    }
    assert circles(graph) is None


def test_a_circle_would_be_seen():
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c"]
    assert circles({"a": ["b", "c"], "b": ["c"], "c": []}) is None


def test_every_door_is_used():
    used = {(m.split(".")[0], name_of(p)) for p in FILES for m in imports(p)}
    for library, doors in DOORS.items():
        for door in doors:
            assert any(lib == library and behind(name, [door]) for lib, name in used), door


def test_the_rooms_of_the_papers_are_pure():
    for path in (p for p in FILES if part(name_of(p)) in PURE):
        modules = set(imports(path))
        assert not {m.split(".")[0] for m in modules} & set(DOORS), path


def test_no_file_is_long():
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 300, path

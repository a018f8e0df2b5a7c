"""Law 8: imports go one way, and each heavy library enters through its own door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "lth").rglob("*.py"))

DOORS = {
    "pytorch_lightning": ["lth.train.module"],
    "hydra": ["lth.cli", "lth.study.sweep"],
    "omegaconf": ["lth.cli", "lth.config", "lth.study.run", "lth.store.study"],
    "wandb": ["lth.loggers.weights_and_biases"],
    "matplotlib": [
        "lth.results.figures",
        "lth.results.figures.analysis",
        "lth.results.figures.compare",
        "lth.results.figures.curves",
        "lth.results.figures.labels",
        "lth.results.figures.style",
        "lth.results.figures.tickets",
    ],
    "sklearn": ["lth.data.digits"],
    "pooch": ["lth.data.fetch"],
}

PURE = [
    "errors", "types", "streams", "layers", "masks", "score", "prune", "rewind", "arms", "schedule",
    "loss", "records", "intervals", "statistics", "matching", "verdict", "ticket", "spec", "search",
    "probe", "cost", "dynamic", "gates", "kinds", "names", "plain", "needs", "trust", "files",
    "ticket_check", "ticket_file", "kept", "adopt", "naming", "parametrized", "trace", "drawn",
]  # fmt: skip

STAIRS = [  # each imports from the stairs above its own, or from its own package
    ["errors", "interrupt"],
    ["kinds", "names", "trust", "files"],
    ["plain"],
    ["types", "streams", "spec", "records", "intervals"],
    ["identity", "parametrized", "trace"],
    ["layers", "loss", "schedule", "statistics", "models", "data"],
    ["masks", "prune", "recipe", "matching", "drawn"],
    ["ticket_check", "ticket_file", "kept", "adopt", "naming"],
    ["ticket", "loggers", "table", "verdict"],
    ["dynamic", "gates", "probe", "cost", "rewind", "entry", "needs"],
    ["entry_check"],
    ["score", "arms", "search", "store", "restore"],
    ["imp", "check"],
    ["check_model"],
    ["train"],
    ["config", "provenance", "study"],
    ["analysis", "compare", "transfer", "from_file"],
    ["figures"],
    ["progress", "setup", "holdings", "sweep"],
    ["plan", "logged"],
    ["execute"],
    ["explain"],
    ["report"],
    ["api", "cli"],
    ["", "__main__"],
]


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


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_libraries_enter_through_their_own_door(path):
    for module in imports(path):
        door = DOORS.get(module.split(".")[0])
        assert door is None or name_of(path) in door, f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_one_way(path):
    stair = {name: height for height, names in enumerate(STAIRS) for name in names}
    mine = part(name_of(path))
    assert mine in stair, f"give {mine} a stair in this test"
    for module in imports(path):
        if module.split(".")[0] == "lth" and part(module) != mine:
            assert stair[part(module)] < stair[mine], f"{name_of(path)} imports {module}"


def test_every_door_is_used():
    used = {(m.split(".")[0], name_of(p)) for p in FILES for m in imports(p)}
    for library, doors in DOORS.items():
        assert any((library, door) in used for door in doors), library


def test_the_parts_that_the_papers_name_are_pure():
    for path in (p for p in FILES if part(name_of(p)) in PURE):
        modules = set(imports(path))
        assert not {m.split(".")[0] for m in modules} & set(DOORS), path


def test_no_file_is_long():
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 300, path

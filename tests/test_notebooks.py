"""Notebooks: they import public names, run, and hold what they showed, small and without traces."""

import ast
import importlib
import json
import os
import re
import sys

import nbformat
import pytest

from docs import pages
from notebooks import execute

NOTEBOOKS = execute.NOTEBOOKS
DOCS = pages.ROOT / "docs"

PUBLIC = {module for _, modules in pages.API.values() for module in modules}

pytestmark = pytest.mark.usefixtures("one_core")
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    return [c for c in read(path).cells if c.cell_type == "code"]


def private(source):
    """List what of lth a text imports or names that the reference in the docs does not have."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] == "lth"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lth":
            found += [f"{node.module}.{a.name}" for a in node.names]
        elif isinstance(node, ast.Attribute):
            owner = isinstance(node.value, ast.Name) and node.value.id == "lth"
            found += [f"lth.{node.attr}"] * owner
            found += [node.attr] * (node.attr.startswith("_") and not node.attr.endswith("__"))
    return [name for name in found if not is_public(name)]


def is_public(name):
    module, _, last = name.rpartition(".")
    if name == "lth" or name in PUBLIC:
        return True
    return module in PUBLIC and last in pages._public(importlib.import_module(module))


def test_what_is_public_is_told_from_what_is_not():
    assert not private(
        "import lth; from lth.lightning import KeepMask; lth.data.digits(); lth.run()"
    )
    assert not private("from lth import moves; from lth.results.figures.masks import mask_figure")
    sources = [
        "from lth.networks import masks", "from lth.spec.build import build", "import lth.imp",
        "lth.store", "study._held()", "from lth.results.figures.masks import _pixels",
    ]  # fmt: skip
    assert all(len(private(source)) == 1 for source in sources)


@each
def test_they_name_only_what_is_public_and_there(path):
    source = "\n".join(cell.source for cell in code(path))
    assert not private(source)
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import | ast.ImportFrom)]
    for node in nodes:
        exec(compile(ast.Module([node], []), str(path), "exec"), {})


TRACES = {
    "a path": r"(?<![\w.~])/(?:home|root|tmp|work|usr|var|Users|opt|mnt|private)/|[A-Z]:\\",
    "an address": r"\b0x[0-9a-f]{6,}",
    "a time": r"\b\d\d:\d\d:\d\d\b|\b20\d\d-\d\d-\d\d|\b20\d{6}_\d{6}",
    "colours of a terminal": r"\x1b",
}


@each
def test_what_they_hold_is_there_small_and_without_traces(path):
    assert path.stat().st_size < 150_000
    notebook, cells = read(path), code(path)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(not cell.metadata for cell in notebook.cells)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 1
    assert all(o.output_type != "error" and o.get("name") != "stderr" for o in outputs)
    assert all(not o.get("metadata") for o in outputs)
    for output in outputs:
        kept = {k: v for k, v in output.get("data", {}).items() if k != "image/png"}
        text = "\n".join([output.get("text", ""), *map(str, kept.values())])
        for what, pattern in TRACES.items():
            assert not re.search(pattern, text), f"{what}: {text[:300]}"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One kernel and one folder for all: what it imports and trains is there for the next."""
    folder = tmp_path_factory.mktemp("notebooks")
    with execute.Kernel(folder).started() as kernel:
        yield kernel


def kinds(cells):
    return [[o.get("name") or sorted(o.data) for o in cell.outputs] for cell in cells]


@each
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*not a writable location.*")
def test_they_run_and_hold_what_they_show(path, kernel):
    """The kinds of outputs are compared; numbers may differ from machine to machine."""
    notebook = read(path)
    if any("pandas" in cell.source for cell in code(path)):
        pytest.importorskip("pandas")
    kernel.run(notebook)
    assert kinds(c for c in notebook.cells if c.cell_type == "code") == kinds(code(path))


def test_what_changes_from_run_to_run_is_taken_out():
    png = code(NOTEBOOKS[0])
    picture = next(
        o.data["image/png"] for c in png for o in c.outputs if "image/png" in o.get("data", {})
    )
    cell = nbformat.v4.new_code_cell("1", execution_count=7, metadata={"execution": {"at": "noon"}})
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="a"),
        nbformat.v4.new_output("stream", name="stdout", text="b"),
        nbformat.v4.new_output("display_data", {"image/png": picture, "text/plain": "<at 0x1>"}),
        nbformat.v4.new_output(
            "display_data", {"text/html": "<details>21 s", "text/plain": "done"}
        ),
    ]
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"user": "me"})
    execute.clean(notebook)
    assert [o.get("text") for o in cell.outputs] == ["ab", None, None] and not cell.metadata
    assert cell.outputs[1].data["text/plain"] == "<Figure>" and "user" not in notebook.metadata
    assert cell.outputs[2].data == {"text/plain": "done"}
    assert len(cell.outputs[1].data["image/png"]) <= len(picture)


def test_the_kernel_has_nobodys_account(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "mine")
    found = execute.environment(tmp_path)
    assert "WANDB_API_KEY" not in found and found["NETRC"].startswith(str(tmp_path))
    assert found["PYTHONPATH"].split(os.pathsep)[0] == str(pages.ROOT) and sys.executable


def test_the_site_has_them_all_in_an_order_of_its_own():
    listed = re.findall(r"^generated/notebooks/(\w+)$", (DOCS / "index.md").read_text(), re.M)
    assert sorted(listed) == [path.stem for path in NOTEBOOKS] and listed[0] == "getting_started"


@each
def test_their_links_lead_somewhere(path):
    text = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith("https://"):
            assert (path.parent / target.partition("#")[0]).is_file(), target


def test_the_site_turns_their_links_to_its_own_pages(tmp_path):
    pages.notebooks(tmp_path)
    text = (tmp_path / "own_data_and_model.ipynb").read_text(encoding="utf-8")
    assert "](../../data.md)" in text and "](../docs/" not in text
    assert json.loads(text)["cells"]

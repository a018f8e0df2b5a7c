"""Run the notebooks and keep what they show: `make notebooks`, or `... execute.py masks` for some.

Each runs in an empty folder of its own, as for a reader who runs it first. What is kept is small
and says nothing of the machine or the time: pictures of few colours, no metadata.
"""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).resolve().parent
NOTEBOOKS = sorted(HERE.glob("*.ipynb"))

COLOURS, WIDTH = 64, 1000
"""Colours and pixels of a kept picture, at most."""

KNOWN = "ignore:`isinstance(treespec"
"""A warning of pytorch-lightning's about torch that is nobody's business here."""


class Kernel:
    """Runs one notebook after the other in one kernel, whose names are forgotten in between."""

    def __init__(self, folder: Path) -> None:
        self._client = NotebookClient(
            nbformat.v4.new_notebook(), timeout=600, resources={"metadata": {"path": str(folder)}},
            extra_arguments=["--Application.log_level=ERROR"],
        )  # fmt: skip
        self._folder = folder

    @contextmanager
    def started(self) -> Iterator[Kernel]:
        """Start it, and end it afterwards."""
        with self._client.setup_kernel(env=environment(self._folder)):
            yield self

    def run(self, notebook: Any) -> None:
        """Run a notebook's cells in place; what a cell raises is raised."""
        forget = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%reset -f")])
        self._take(forget)
        self._client.execute_cell(forget.cells[0], 0, store_history=False)
        self._take(notebook)
        code = [(n, c) for n, c in enumerate(notebook.cells) if c.cell_type == "code"]
        for count, (place, cell) in enumerate(code, 1):
            self._client.execute_cell(cell, place, execution_count=None)
            cell.execution_count = count
        clean(notebook)

    def _take(self, notebook: Any) -> None:
        self._client.nb = notebook
        self._client.reset_execution_trackers()


def environment(folder: Path) -> dict[str, str]:
    """Return variables of a kernel: this repository's lth, nobody's account or profile."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith("WANDB_")}
    (folder / ".machine").mkdir(exist_ok=True)
    places = ("IPYTHONDIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "NETRC")
    own = {name: str(folder / ".machine" / name.lower()) for name in places}
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    return kept | own | {"PYTHONPATH": path, "WANDB_SILENT": "true", "PYTHONWARNINGS": KNOWN}


def clean(notebook: Any) -> None:
    """Take out what changes from run to run, and make pictures small."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if "outputs" in cell:
            cell.outputs = _joined(cell.outputs)
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = {}
            if "text" in output:
                output.text = re.sub(r"\x1b\[[0-9;]*m", "", output.text)  # bold, colours
            if output.get("execution_count") is not None:
                output.execution_count = cell.execution_count
            _clean_data(output.get("data", {}))


def _joined(outputs: list[Any]) -> list[Any]:
    """Join what was printed piece by piece: where it is cut depends on the machine's haste."""
    found: list[Any] = []
    for output in outputs:
        streams = [o for o in (*found[-1:], output) if o.output_type == "stream"]
        if len(streams) == 2 and streams[0].name == streams[1].name:
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def _clean_data(data: Any) -> None:
    if "<details" in data.get("text/html", ""):  # what a terminal shows says how long it took
        del data["text/html"]
    if "image/png" in data:
        data["image/png"] = smaller(data["image/png"])
        data["text/plain"] = "<Figure>"


def smaller(png: str) -> str:
    """Return a picture, base64, in few colours."""
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    content = io.BytesIO()
    if ground.width > WIDTH:
        size = WIDTH, round(ground.height * WIDTH / ground.width)
        ground = ground.resize(size, Image.Resampling.BOX)
    ground.quantize(COLOURS, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def main(names: list[str]) -> None:
    """Run the notebooks of these names, or all, and write them where they lie."""
    for path in NOTEBOOKS:
        if names and path.stem not in names:
            continue
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder, Kernel(Path(folder)).started() as kernel:
            kernel.run(notebook)
        nbformat.write(notebook, path)
        print(f"{path.stem}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Moving a module of lth, or putting it into another room, does not change what a member is."""

import shutil
import subprocess
import sys
from pathlib import Path

import lth

ROOT = Path(lth.__file__).parent
MOVED = {
    "lth.train.optimizer": "lth.elsewhere.steps",
    "lth.recipe.evaluation": "lth.elsewhere.sums",
}
ASK = "from lth.train.key import numerics; print(numerics().key)"


def numerics_in(folder):
    """Ask a process of its own, which sees only this copy of lth."""
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, cwd=folder, check=True,
        env={"PYTHONPATH": str(folder), "PATH": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done.stdout


def copied(folder):
    shutil.copytree(ROOT, folder / "lth", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "lth"


def move(package):
    (package / "elsewhere").mkdir()
    (package / "elsewhere" / "__init__.py").touch()
    for old, new in MOVED.items():
        source = package.parent.joinpath(*old.split(".")).with_suffix(".py")
        source.rename(package.parent.joinpath(*new.split(".")).with_suffix(".py"))
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for old, new in MOVED.items():
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")


def test_a_module_that_moves_is_the_same_code(tmp_path):
    here, there, other = (tmp_path / n for n in ("here", "there", "other"))
    copied(here)
    move(copied(there))
    edited = copied(other) / "train" / "optimizer.py"
    text = edited.read_text(encoding="utf-8")
    edited.write_text(text.replace("0 < first < len(moved)", "1 < first < len(moved)"))
    assert edited.read_text(encoding="utf-8") != text
    assert numerics_in(here) == numerics_in(there) != numerics_in(other)

"""A dozen small studies whose every number is held; ``python -m tests.golden_studies`` writes them.

The numbers of a study may change only where CHANGELOG's "Results changed" says why.
"""

from __future__ import annotations

import csv
import hashlib
import tempfile
from pathlib import Path

import torch

import lth
from lth.config import compose
from tests import laws, toys

FOLDER = Path(__file__).parent / "golden"

RECIPE = {"steps": 24, "batch": 60, "eval_every": 8}
BASE = {
    "data": "digits", "model": "lenet", "name": "golden", "trials": 1, "levels": 2,
    "arms": ["winning_ticket", "random_reinit"], "recipe": RECIPE, "rewind": {"step": 6},
    "logger": "none", "trainer": {"workers": 0, "device": "cpu"},
}  # fmt: skip
SGD = {**RECIPE, "lr": 0.05, "optimizer": {"_target_": "torch.optim.SGD", "momentum": 0.9}}
CONSTANT = {"_target_": "lth.recipe.schedule.constant"}
CONTROLS = ["winning_ticket", "random_mask", "signed_reinit", "reshuffle", "constant",
            "small_dense", "freeze", "sgd_noise", "noise", "rescaled"]  # fmt: skip

STUDIES = {
    "plain": {"trials": 2},
    "controls": {"levels": 1, "arms": CONTROLS},
    "global": {"prune": "globally"},
    "momentum": {"recipe": SGD},
    "rates": {"recipe": {**RECIPE, "lr": [1e-3, 5e-3]}},
    "learning-rate-rewinding": {"rewind": "learning_rate"},
    "fine-tuning": {"rewind": {"_target_": "lth.pruning.rewind.fine_tune", "length": 12}},
    "one-shot": {"search": "one_shot", "rewind": "to_init"},
    "snip": {"search": "at_init", "score": "snip", "prune": "globally", "rewind": "to_init"},
    "synflow": {"search": {"_target_": "lth.pruning.search.at_init", "rounds": 10},
                "score": "synflow", "rewind": "to_init"},
    "convolutions": {"model": toys.norm_net, "levels": 1, "recipe": {**RECIPE, "steps": 8},
                     "rewind": "to_init"},
    "changing-masks": {"levels": 1, "rewind": "to_init", "arms": [
        "winning_ticket", "set", "rigl", "gradual", "supermask", "edge_popup"]},
}  # fmt: skip


def rows_of(name: str) -> list[list[str]]:
    """Run a study in a folder of its own; return its records and curves, without its id."""
    with tempfile.TemporaryDirectory() as folder:
        study = run(BASE | STUDIES[name] | {"out": folder})
        rows = [*study.records, *study.curves]
    return [[str(value) for value in row[1:]] for row in rows]


def run(settings: dict) -> lth.Study:
    """Run a study without its figures."""
    setup = laws.prepare(compose(**settings))
    laws.execute(setup, laws.Display(laws.Console(), enabled=False))
    return laws.study_of(setup)


def rounding() -> str:
    """Stand for how this machine rounds: what torch makes of one product, one map, one norm."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(60, 784, generator=generator), torch.randn(784, 300, generator=generator)
    maps = torch.randn(20, 1, 8, 8, generator=generator)
    kernel = torch.randn(6, 1, 5, 5, generator=generator)
    made = [a @ b, (b.T @ a.T).exp(), torch.conv2d(maps, kernel), torch.log_softmax(a, 1)]
    data = b"".join(t.contiguous().numpy().tobytes() for t in made)
    return hashlib.sha256(data).hexdigest()[:16]


def read(name: str) -> tuple[str, list[list[str]]]:
    """Return how the machine rounded that wrote a study's numbers, and the numbers."""
    with open(FOLDER / f"{name}.csv", newline="", encoding="utf-8") as file:
        (machine,), *rows = csv.reader(file)
    return machine, rows


def write(name: str) -> None:
    """Write a study's numbers."""
    FOLDER.mkdir(exist_ok=True)
    with open(FOLDER / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([[rounding()], *rows_of(name)])


if __name__ == "__main__":
    torch.set_num_threads(1)
    for study in STUDIES:
        write(study)
        print(study)

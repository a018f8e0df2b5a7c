"""Two processes on gloo: the same masks, weights and tickets on both."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


def run(way, folder):
    found = subprocess.run(
        [sys.executable, "-m", "tests.lightning_ddp", way, str(folder)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    return [torch.load(p) for p in sorted(folder.glob("*.pt"))]


def test_both_ranks_end_with_the_same(tmp_path):
    mine, other = run("ddp", tmp_path)
    assert mine.keys() == other.keys() and len(mine) == 14
    for what, tensors in mine.items():
        for name, value in tensors.items():
            assert torch.equal(value, other[what][name]), (what, name)
    for name, start in mine["start 2"].items():  # law 3, and weights of rank 0
        mask = mine["ticket 2"].get(name, torch.tensor(True))
        assert torch.equal(start, torch.where(mask, mine["start 1"][name], 0.0))
    assert any(not torch.equal(m, mine["by rank"]["net.0.weight"]) for m in [torch.ones(8, 6)])


@pytest.mark.parametrize("way", ["ddp_fork", pytest.param("ddp_spawn", marks=pytest.mark.slow)])
def test_tickets_come_back_from_processes_that_end_with_fit(way, tmp_path):
    (out,) = run(way, tmp_path)
    for name, start in out["start 1"].items():
        assert not start[~out["ticket 1"].get(name, torch.ones(start.shape) > 0)].any()
    assert any(not torch.equal(s, out["start 0"][n]) for n, s in out["start 1"].items())

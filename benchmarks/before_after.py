"""Two checkouts against each other: is the new one as fast as the old one was?

    python -m benchmarks.before_after BEFORE AFTER [--rounds 40] [--members 1 10] [--workers 0]

Each checkout runs in a process of its own; they take turns at short runs, in an order that turns
round every round, so that whatever else the machine does meets both. A run is timed by the clock
and by the CPU time of its processes. Reported is the ratio of speeds, after / before, within a
round: its median over the rounds, with a bootstrap interval of 95 %. Of ``steps`` the runs are cut
into two lengths: their difference is the speed of the steps, with their evaluations, alone; the
long run as it is counts what is paid once a member too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

CADENCE = 100
"""Steps between evaluations."""

SERVE = """
import json, os, sys, tempfile, time
from dataclasses import replace
from pathlib import Path
import torch
from benchmarks import throughput

name, workers = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
throughput.replace = lambda recipe, steps, eval_every: replace(
    recipe, steps=steps, eval_every=min(CADENCE, steps)
)

def cpu(trainer):
    used = time.process_time()
    for process in trainer._pool._processes.values() if trainer._pool else ():
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used

with tempfile.TemporaryDirectory() as folder:
    contest = throughput.Contest(throughput.NETWORKS[name], Path(folder), "cpu")
    contest.trainer.options = throughput.Options(device="cpu", workers=workers)
    for line in sys.stdin:
        number, steps, members = json.loads(line)
        begun, used = time.perf_counter(), cpu(contest.trainer)
        contest.framework(number, steps, members)
        print(json.dumps([time.perf_counter() - begun, cpu(contest.trainer) - used]), flush=True)
    contest.trainer.close()
""".replace("CADENCE", str(CADENCE))


class Checkout:
    """A checkout at work: runs members on demand."""

    def __init__(self, folder: Path, network: str, workers: int) -> None:
        environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE, network, str(workers)], cwd=folder, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, number: int, steps: int, members: int) -> dict[str, float]:
        """Train members that no run has trained; return seconds by the clock and of CPU time."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps([number, steps, members]), file=self._process.stdin, flush=True)
        wall, cpu = json.loads(self._process.stdout.readline())
        return {"wall": wall, "cpu": cpu}

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@dataclass(frozen=True)
class Ratio:
    """How the ratios of speeds, after / before, lie."""

    n: int
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f}-{self.high:.3f}, n = {self.n})"


def ratio(values: list[float], draws: int = 2000) -> Ratio:
    """Return the median and a bootstrap interval of it that holds 95 %."""
    chance = random.Random(0)
    medians = sorted(median(chance.choices(values, k=len(values))) for _ in range(draws))
    return Ratio(
        len(values), median(values), medians[draws * 25 // 1000], medians[draws * 975 // 1000]
    )


def compare(
    sides: dict[str, Checkout], members: int, rounds: int, steps: int
) -> dict[str, list[float]]:
    """Let both run in turn; return the ratios of speeds by what was timed, one a round."""
    found: dict[str, list[float]] = {
        f"{what}, {by}": [] for what in ("steps", "whole") for by in ("cpu", "wall")
    }
    for number in range(rounds + 1):
        took: dict[tuple[str, int], dict[str, float]] = {}
        for name in sorted(sides, reverse=number % 2 == 1):
            for length in (CADENCE, steps):
                took[name, length] = sides[name].run(number, length, members)
        if number == 0:
            continue  # to warm up
        for by in ("cpu", "wall"):
            whole = {name: took[name, steps][by] for name in sides}
            only = {name: whole[name] - took[name, CADENCE][by] for name in sides}
            found[f"steps, {by}"].append(only["before"] / only["after"])
            found[f"whole, {by}"].append(whole["before"] / whole["after"])
    return found


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Compare two checkouts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.before_after")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--network", default="lenet")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    sides = {
        name: Checkout(getattr(given, name).resolve(), given.network, given.workers)
        for name in ("before", "after")
    }
    found: dict[str, Any] = {}
    try:
        for members in given.members:
            values = compare(sides, members, max(2, given.rounds // members), given.steps)
            found[f"R = {members}"] = values
            for what, each in values.items():
                print(f"{given.network}, R = {members}, {what}: {ratio(each)}", flush=True)
    finally:
        for side in sides.values():
            side.close()
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    main()

"""Records of studies that were never run: shaped like the paper's, and known to the last digit."""

import math
import random

from lth.records.record import Record

SPLITS = (("train", 0.02), ("validation", -0.004), ("test", 0.0))
WINNER, REINIT = "winning_ticket", "random_reinit"
SIX_ARMS = (WINNER, REINIT, "random_mask", "small_dense", "shuffled_mask", "one_shot")


def study(
    trials=5, levels=15, arms=(WINNER, REINIT), rates=(0.0012,), copies=1, steps=6000, every=100,
    diverged=(), splits=("validation",),
):  # fmt: skip
    """Return records and curves; ``diverged`` names places (trial, copy, lr, arm, level)."""
    records, curves = [], []
    for level in range(levels + 1):
        for lr in rates:
            for arm in arms if level else arms[:1]:
                for trial in range(trials):
                    for copy in range(1 if arm == WINNER else copies):
                        place = (trial, copy, lr, arm, level)
                        where = ("lenet-mnist-00c0ffee", *place, 0.8**level)
                        rows, points = _member(place, arms, steps, every, place in diverged)
                        records += [Record(*where, *row) for row in rows]
                        curves += [Record(*where, *p) for p in points if p[1] in splits]
    return records, curves


def _member(place, arms, steps, every, diverged):
    if diverged:
        at = 7 * every + 3
        points = [(s, "validation", "accuracy", 0.1) for s in range(0, at, every)]
        return [(at, "train", "diverged", float(at))], points
    draw = random.Random(repr(place))
    top, early = _shape(place, arms, steps, draw)
    early = max(every, min(steps, round(early / every) * every))
    rows = [(early, "validation", "early_stop_step", float(early))]
    for step, lost in ((early, 0.0), (steps, 0.001)) if early < steps else ((early, 0.0),):
        for split, more in SPLITS:
            accuracy = min(1.0, top + more - lost)
            rows.append((step, split, "accuracy", accuracy))
            rows.append((step, split, "loss", 4 * (1 - accuracy) + 0.01))
    points = []
    for step in (*range(0, steps, every), steps):
        climb = 1 - math.exp(-4 * step / early)
        for split, more in SPLITS:
            accuracy = min(1.0, 0.1 + (top + more - 0.1) * climb + draw.gauss(0, 0.0004))
            points.append((step, split, "accuracy", accuracy))
            points.append((step, split, "loss", 2.4 * (1 - accuracy) + 0.02))
    return rows, points


def _shape(place, arms, steps, draw):
    """Return the test accuracy and the step of early stop that a place tends to."""
    _, _, lr, arm, level = place
    density, rank = 0.8**level, arms.index(arm)
    bump = 0.004 * math.exp(-((level - 8) ** 2) / 18)
    if arm == WINNER:
        top, early = 0.977 + bump - 0.0009 * max(0, level - 13) ** 1.5, 0.55 - 0.25 * (1 - density)
    else:
        top = 0.977 - (0.0005 + 0.0001 * rank) * level**1.35
        early = 0.55 + 0.028 * level + 0.01 * rank
    top += draw.gauss(0, 0.0008) - 0.002 * abs(math.log(lr / 0.0012))
    return top, steps * early * (0.0012 / lr) ** 0.3 * draw.uniform(0.85, 1.15)

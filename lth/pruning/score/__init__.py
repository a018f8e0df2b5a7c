"""Scores: how much each weight matters, apart from how many are kept.

Each score is a factory with named arguments; what it returns follows ``lth.types.Score``.
"""

from lth.pruning.score.gradients import gradient_magnitude, grasp, snip, synflow
from lth.pruning.score.weights import (
    inverted,
    large_final_diff_sign,
    large_final_same_sign,
    large_init,
    large_init_large_final,
    magnitude,
    magnitude_increase,
    magnitude_increase_diff_sign,
    magnitude_increase_same_sign,
    movement,
    random,
    small_final,
    small_init,
    small_init_small_final,
)

__all__ = [
    "gradient_magnitude", "grasp", "inverted", "large_final_diff_sign", "large_final_same_sign",
    "large_init", "large_init_large_final", "magnitude", "magnitude_increase",
    "magnitude_increase_diff_sign", "magnitude_increase_same_sign", "movement", "random",
    "small_final", "small_init", "small_init_small_final", "snip", "synflow",
]  # fmt: skip

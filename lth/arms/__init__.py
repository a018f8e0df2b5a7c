"""Arms: what a member of the comparison starts from, a pure function of the winning ticket.

Each arm is a factory with named arguments; what it returns maps the winning ticket of a level and a
generator to another ticket. How many copies of it are drawn per trial is the study's business.
"""

from lth.arms.children import dense_child, sgd_noise
from lth.arms.dynamic import edge_popup, gradual, grow_then_prune, rigl, sparse_evolution, supermask
from lth.arms.equal_flops import equal_flops
from lth.arms.frozen import freeze
from lth.arms.protocol import Arm, context_of, longer, winning_ticket
from lth.arms.random_masks import random_mask
from lth.arms.reinit import constant, noise, random_reinit, rescaled, reshuffle
from lth.arms.small import small_dense

__all__ = [
    "Arm", "constant", "context_of", "dense_child", "edge_popup", "equal_flops", "freeze",
    "gradual", "grow_then_prune", "longer", "noise", "random_mask", "random_reinit", "rescaled",
    "reshuffle", "rigl", "sgd_noise", "small_dense", "sparse_evolution", "supermask",
    "winning_ticket",
]  # fmt: skip

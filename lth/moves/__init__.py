"""Moves: from a trained member to the ticket that trains next, pure functions.

Each is a factory with named arguments; what it returns maps a trained member and the turn it is
made in to a ticket. A method is a short list of them (conf/method/): a move that leaves nothing to
train (``prune``) is followed at once by the next, and every ticket that trains is a phase, stored
like any other member. Prune-and-rewind is one such list; iterative pruning repeats it.
"""

from lth.moves.keep import distil, fine_tune, measure, prune, train
from lth.moves.neurons import drop_dead, prune_neurons
from lth.moves.rewind import prune_and_rewind, rewind
from lth.moves.rewriting import rewriting
from lth.moves.trained import Move, Trained

__all__ = [
    "Move", "Trained", "distil", "drop_dead", "fine_tune", "measure", "prune", "prune_and_rewind",
    "prune_neurons", "rewind", "rewriting", "train",
]  # fmt: skip

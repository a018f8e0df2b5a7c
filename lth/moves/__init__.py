"""Moves: from a trained member to the ticket that trains next, pure functions.

Each is a factory with named arguments; what it returns maps a trained member and the turn it is
made in to a ticket. A method is a short list of them (conf/method/): a move that leaves nothing to
train (``prune``) is followed at once by the next, and every ticket that trains is a phase, stored
like any other member. Prune-and-rewind is one such list; iterative pruning repeats it.
"""

from lth.moves.clustering import cluster
from lth.moves.distil import distil, show
from lth.moves.exits import attach_exits, exit_early, with_loss
from lth.moves.gates import always, gate
from lth.moves.halving import halve
from lth.moves.inputs import quantize_inputs
from lth.moves.keep import fine_tune, measure, prune, train
from lth.moves.low_rank import low_rank
from lth.moves.nested import at_ticket, nested_tickets
from lth.moves.neurons import drop_dead, prune_neurons
from lth.moves.quantizing import quantize
from lth.moves.rewind import prune_and_rewind, rewind
from lth.moves.rewriting import rewriting
from lth.moves.sensitivity import by_sensitivity
from lth.moves.separate import separate
from lth.moves.shift_bias import shift_bias
from lth.moves.slim import at_width, slim
from lth.moves.student import student
from lth.moves.trained import Move, Trained

__all__ = [
    "Move", "Trained", "always", "at_ticket", "at_width", "attach_exits", "by_sensitivity",
    "cluster", "distil", "drop_dead", "exit_early", "fine_tune", "gate", "halve", "low_rank",
    "measure", "nested_tickets", "prune", "prune_and_rewind", "prune_neurons", "quantize",
    "quantize_inputs", "rewind", "rewriting", "separate", "shift_bias", "show", "slim", "student",
    "train", "with_loss",
]  # fmt: skip

"""A move to depthwise separable convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from lth.moves.rewriting import rewriting
from lth.moves.trained import Move, Trained
from lth.networks.rewrites.called import check_called
from lth.networks.rewrites.pairs import names_in, of
from lth.networks.rewrites.separable import separated
from lth.networks.ticket import network_of
from lth.pruning.turn import Turn
from lth.spec.build import Spec

TARGET = "lth.networks.rewrites.separable"


def separate(layers: Sequence[str] | None = None, weights: str = "trained") -> Move:
    """Take convolutions of the network apart: a filter for every channel, then a 1x1 convolution.

    ``layers`` by name or pattern; None: all that this makes smaller but the first. ``weights``:
    ``trained``, the best approximation of each channel's filters; ``rewound``, that of the dense
    network where the study rewinds to; ``drawn``, that of a fresh draw. Howard et al. 2017 (arXiv
    1704.04861), Section 3.
    """
    if layers is not None:
        with of("moves.separate.layers"):
            names_in(layers)

    def structure(trained: Trained, context: Turn) -> Spec:
        net = trained.net
        with of("moves.separate"):
            found = separated(network_of(net.model, net.start), layers)
            names = [place.name for place in found]
            spec = {"_target_": TARGET, "model": net.model, "layers": names}
            if context.experiment.validation is not None:  # a task's module only its user can run
                check_called(spec, names, context.experiment.input_shape)
        return spec

    return rewriting(structure, weights)

"""A move to low-rank layers: at which ranks, decided on the trained network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from torch import nn

from lth.errors import LthError
from lth.moves.rewriting import rewriting
from lth.moves.trained import Move, Trained
from lth.networks.cost import uses
from lth.networks.rewrites.called import check_called, passed_by
from lth.networks.rewrites.low_rank import check_rank, factorisable, ranked, saves, why_none
from lth.networks.rewrites.pairs import Place, matching, names_in, of
from lth.networks.rewrites.ranks import at_energy, spectra_of, within
from lth.networks.ticket import layers_of, network_of
from lth.pruning.turn import Turn
from lth.spec.argument_types import number, one_of, whole
from lth.spec.build import Spec

TARGET = "lth.networks.rewrites.low_rank"
COUNTED = ("params", "macs")
ENERGY = 0.9


def low_rank(
    rank: int | Mapping[str, int] | None = None,
    energy: float | None = None,
    params: int | None = None,
    macs: int | None = None,
    share: float | None = None,
    share_of: str = "params",
    layers: Sequence[str] | None = None,
    weights: str = "trained",
) -> Move:
    """Factorise the layers of the trained network, ``W = U V'``, at ranks of one of five kinds.

    ``rank``: one for all ``layers`` (names or patterns; None: every one that it makes smaller), or
    of each by its name; ``energy``: the least that keep so much of every layer's squared singular
    values (0.9 where nothing is said); ``params`` or ``macs``: those of the highest energy, one for
    all layers, at which the network has no more numbers, or takes no more multiply-adds an image;
    ``share``: the same, of what it has (``share_of`` params or macs). A layer whose factors would
    be no smaller, ``r >= m n / (m + n)``, is left as it is. ``weights``: ``trained``, their best
    factors; ``rewound``, those of the dense network where the study rewinds to, at the ranks of the
    trained one: a rank ticket; ``drawn``, those of a fresh draw.
    """
    given = {"rank": rank, "energy": energy, "params": params, "macs": macs, "share": share}
    asked = {name: value for name, value in given.items() if value is not None}
    if len(asked) > 1:
        raise LthError(f"moves.low_rank: give one of {', '.join(given)}, not {len(asked)}")
    kind, value = next(iter((asked or {"energy": ENERGY}).items()))
    _check(kind, value, layers)
    one_of("moves.low_rank.share_of", share_of, COUNTED)

    def structure(trained: Trained, context: Turn) -> Spec:
        net, shape = trained.net, context.experiment.input_shape
        network = network_of(net.model, net.start)
        with of("moves.low_rank"):
            chosen = _places(network, layers)
            if context.experiment.validation is not None:  # a task's module only its user can run
                chosen = _called(network, net.model, shape, chosen, value, layers is not None)
            if kind == "rank":
                ranks = _named(network, chosen, value, layers is not None)
            elif kind == "energy":
                ranks = at_energy(spectra_of(chosen, None), value)
            else:
                counted = kind if kind in COUNTED else share_of
                ranks = _within(network, net.model, chosen, counted, value, shape)
        spec = {"_target_": TARGET, "model": net.model, "ranks": ranks}
        if kind == "energy" and not ranks and value < 1:
            warnings.warn(f"low_rank: energy={value} makes no layer smaller", stacklevel=2)
        return spec

    return rewriting(structure, weights)


def _check(kind: str, value: Any, layers: Any) -> None:
    """Refuse ranks, energies, budgets and layers that cannot be."""
    name = f"moves.low_rank.{kind}"
    if kind in ("energy", "share"):
        number(name, value, "(0, 1]")
    elif kind != "rank" or not isinstance(value, Mapping):
        whole(name, value, 1)
    elif layers is not None:
        raise LthError(f"{name} names its layers: leave out layers")
    else:
        for layer, rank in value.items():
            whole(f"{name}.{layer}", rank, 1, "a rank is a whole number")
    if layers is not None:
        with of("moves.low_rank.layers"):
            names_in(layers)


def _places(network: nn.Module, layers: Sequence[str] | None) -> dict[str, Place]:
    known = factorisable(network)
    if layers is not None:
        known = {p.name: p for p in matching(network, known, names_in(layers), why_none)}
    if not known:
        raise LthError("no layer is there that has a low-rank form")
    return known


def _called(
    network: nn.Module, model: Spec, shape: Sequence[int], chosen: Mapping[str, Place], value: Any,
    said: bool,
) -> dict[str, Place]:  # fmt: skip
    """Return the layers that the forward pass calls; others are refused where they were named."""
    names, one = list(chosen), {"_target_": TARGET, "model": model}
    if isinstance(value, Mapping):
        names, said = [place.name for place, _ in ranked(network, value)], True
    form = {**one, "ranks": dict.fromkeys(names, 1)}
    if said:
        check_called(form, names, shape)
        return dict(chosen)
    left = passed_by(form, names, shape)
    for name in left:
        warnings.warn(
            f"low_rank: {name} is left as it is: the forward pass holds its weight by another way "
            "than the layer", stacklevel=3,
        )  # fmt: skip
    return {name: place for name, place in chosen.items() if name not in left}


def _named(
    network: nn.Module, chosen: Mapping[str, Place], rank: Any, said: bool
) -> dict[str, int]:
    """Return ranks that were named; of a layer that they do not make smaller it is said."""
    if isinstance(rank, Mapping):
        found = {place.name: (place, r) for place, r in ranked(network, rank)}
    else:
        widest = max(chosen.values(), key=lambda place: place.full)
        for place in chosen.values() if said else [widest]:
            check_rank(place, rank)
        found = {n: (p, rank) for n, p in chosen.items() if said or saves(p, rank)}
    for place, r in found.values():
        if not saves(place, r):
            least = place.size / sum(place.matrix.shape)
            warnings.warn(
                f"low_rank: {place.name} is left as it is: it is smaller from ranks below "
                f"{least:.4g} on, and {r} was asked for", stacklevel=3,
            )  # fmt: skip
    return {name: r for name, (place, r) in found.items() if saves(place, r)}


def _within(
    network: nn.Module, model: Spec, chosen: Mapping[str, Place], counted: str, budget: float,
    shape: Sequence[int],
) -> dict[str, int]:  # fmt: skip
    """Return the ranks of a budget, a share of what there is if it is one."""
    times = None if counted == "params" else uses(model, shape)
    if times is None:
        total = sum(t.numel() for t in (*network.parameters(), *_stored(network)))
    else:
        sizes = layers_of(model).parameters
        total = sum(sizes[n] * t for n, t in times.items())
    spectra = spectra_of(chosen, times)
    rest = total - sum(s.cost(None) for s in spectra)
    whole = budget > 1 or isinstance(budget, int)
    limit = budget if whole else float(Fraction(str(budget)) * Fraction(total))
    return within(spectra, limit, rest, {"params": "numbers"}.get(counted, counted))


def _stored(network: nn.Module) -> list[Any]:
    """Return the buffers that are stored with a network."""
    kept = network.state_dict().keys()
    return [b for name, b in network.named_buffers() if name in kept]

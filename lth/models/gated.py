"""Networks that choose for every input which parts of themselves they run.

Residual blocks by a gate of their own (SkipNet, Wang et al. 2018, arXiv 1711.09485) or by one
policy network (BlockDrop, Wu et al. 2018, arXiv 1711.08393); groups of channels inside a block
(Runtime Neural Pruning, Lin et al. 2017; FBS, Gao et al. 2019, arXiv 1810.05331).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lth.errors import LthError
from lth.models.blocks import (
    Chosen,
    GatedBlock,
    Switch,
    blocks_of,
    first_layer,
    in_place,
)
from lth.models.channels import GatedChannels
from lth.models.check import whole
from lth.models.resnet import resnet

BY = ("blocks", "channels", "policy")
ESTIMATORS = ("straight_through", "gumbel", "reinforce")


def gated_resnet(
    *,
    input_shape: Sequence[int],
    classes: int,
    depth: int = 14,
    width: int = 16,
    shortcut: str = "pad",
    by: str = "blocks",
    estimator: str = "straight_through",
    temperature: float = 1.0,
    groups: int = 4,
    bias: float = 2.0,
    init: str = "glorot_normal",
    norms: str = "ones",
) -> nn.Module:
    """A ResNet for CIFAR (``lth.models.resnet``) with gates (``gated``), which start open."""
    model = resnet(
        input_shape=input_shape, classes=classes, depth=depth, width=width, shortcut=shortcut,
        init=init, norms=norms,
    )  # fmt: skip
    return gated(model, by, estimator, temperature, groups, bias)


def gated(
    model: nn.Module,
    by: str = "blocks",
    estimator: str = "straight_through",
    temperature: float = 1.0,
    groups: int = 4,
    bias: float = 2.0,
    blocks: Sequence[str] | None = None,
) -> nn.Module:
    """Gate the residual blocks of a network; with all gates open it is that network.

    ``by`` blocks: each has a gate, ``Linear(mean over positions of its input)``; by channels: a
    gate for each of ``groups`` groups of its inner channels; by policy: one small network looks at
    the input and decides on all blocks. A gate is open where its logit is above 0; ``bias`` is
    where it starts. ``estimator`` says how gates learn: straight_through (Bengio et al. 2013, arXiv
    1308.3432), gumbel with a ``temperature`` (Jang et al. 2017, arXiv 1611.01144), reinforce (Wu et
    al. 2018; with the loss ``policy_gradient``). ``blocks`` names what may be skipped,
    None: all residual blocks, modules with a ``shortcut`` or a ``downsample``.

    In training it gives ``(logits [B, K], share [B])``, the share of the multiply-adds that the
    gates decide on that was run, differentiable (loss ``with_computation``); outside training the
    logits, and only what is open is executed.
    """
    for name, value, known in (("by", by, BY), ("estimator", estimator, ESTIMATORS)):
        if value not in known:
            raise LthError(f"gated: {name}={value!r}: choose from {', '.join(known)}")
    if not temperature > 0:
        raise LthError(f"gated: temperature={temperature!r}: a number above 0")
    whole("groups", groups)
    return Gated(model, by, Switch(estimator, temperature), groups, bias, blocks)


class Decisions(NamedTuple):
    """What a gated network answers, and which of its gates were open: ``[B, K]``, ``[B, G]``."""

    logits: Tensor
    open: Tensor
    macs: Tensor


class Gated(nn.Module):
    """A network whose residual blocks are gated; what it executes depends on its input."""

    dynamic = True

    def __init__(
        self, model: nn.Module, by: str, switch: Switch, groups: int = 4, bias: float = 2.0,
        blocks: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.switch, self.policy = switch, None
        gates: dict[str, nn.Module] = {}
        for path, block in blocks_of(model, blocks).items():
            if by == "channels":
                gates[path] = GatedChannels(block, switch, groups, bias)
            else:
                gates[path] = GatedBlock(block, switch, bias if by == "blocks" else None)
        parts = [f":{g}" for g in range(groups)] if by == "channels" else [""]
        self.names = [path + part for path in gates for part in parts]
        if by == "policy":
            self.policy = policy_network(first_layer(model), len(gates), bias)
        self.model = in_place(model, gates)

    @property
    def gates(self) -> list[GatedBlock | GatedChannels]:
        """The gated blocks, in order."""
        return [m for m in self.model.modules() if isinstance(m, GatedBlock | GatedChannels)]

    def forward(self, inputs: Tensor) -> Any:
        """Return logits ``[B, K]``; in training with the share of computation ``[B]``.

        Where gates learn by ``reinforce``: ``(logits, share, log chance [B], greedy logits, greedy
        share)``, the last two of the policy that is most likely.
        """
        if not self.training:
            return self._run(inputs)[0]
        logits, chosen = self._run(inputs)
        if self.switch.estimator != "reinforce":
            return logits, share_of(chosen)
        with torch.no_grad(), self.switch.greedily(), unseen_by_norms(self.model):
            greedy, best = self._run(inputs)
        chances = torch.stack([c.log_chance for c in chosen]).sum(0)
        return logits, share_of(chosen).detach(), chances, greedy, share_of(best)

    def decide(self, inputs: Tensor) -> Decisions:
        """Return the logits and which gates were open: rows by example; for every gate its MACs."""
        logits, chosen = self._run(inputs)
        macs = [torch.full((c.open.shape[1],), float(c.macs)) for c in chosen]
        return Decisions(logits, torch.cat([c.open > 0.5 for c in chosen], 1), torch.cat(macs))

    def _run(self, inputs: Tensor) -> tuple[Tensor, list[Chosen]]:
        gates = self.gates
        if self.policy is not None:
            _check_inputs(self.policy, inputs)
            for gate, logits in zip(gates, self.policy(inputs).unbind(1), strict=True):
                gate.logits = logits.unsqueeze(1)
        outputs = self.model(inputs)
        chosen = [gate.take() for gate in gates]
        return outputs, [c for c in chosen if c is not None]


@contextmanager
def unseen_by_norms(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch as in training, and leave the running statistics as they are."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def share_of(chosen: Sequence[Chosen]) -> Tensor:
    """Return ``[B]``: multiply-adds of what is open over those of all that is gated."""
    run = [(c.open * c.macs).sum(1) for c in chosen]
    return torch.stack(run).sum(0) / sum(c.macs * c.open.shape[1] for c in chosen)


def policy_network(layer: Any, blocks: int, bias: float) -> nn.Module:
    """Return a small network from an input to a logit for each block: ``[B, C, H, W] -> [B, G]``.

    A strided convolution of 16 channels; of flat inputs a hidden layer of 16.
    """
    size = 0 if isinstance(layer, nn.Linear) else len(layer.kernel_size)
    head = nn.Linear(16, blocks)
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, bias)
    if not size:
        return nn.Sequential(nn.Flatten(), nn.Linear(layer.in_features, 16), nn.ReLU(), head)
    kind: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[size - 1]
    pool: Any = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[size - 1]
    conv = kind(layer.in_channels, 16, 3, stride=2, padding=1)
    return nn.Sequential(conv, nn.ReLU(), pool(1), nn.Flatten(), head)


def _check_inputs(policy: Any, inputs: Tensor) -> None:
    """Refuse inputs that a network brings into another form before its first layer."""
    first, layer = policy[0], policy[1]
    if isinstance(first, nn.Flatten):
        fits, wanted = inputs[0].numel() == layer.in_features, [layer.in_features]
    else:
        wanted = [first.in_channels, *["n"] * len(first.kernel_size)]
        fits = inputs.ndim == len(wanted) + 1 and inputs.shape[1] == first.in_channels
    if not fits:
        raise LthError(
            f"gated: by=policy: the network takes {list(inputs.shape[1:])}, its first layer "
            f"{wanted}, and a policy needs both alike: gate by=blocks"
        )

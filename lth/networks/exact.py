"""Modules that stay tickets: their state dicts, given and taken, have 0 where they are pruned."""

from __future__ import annotations

from torch import nn

from lth.networks.kept import StaysTicket


def in_state_dicts(network: nn.Module) -> nn.Module:
    """Hold a module of ``keep_masked`` to its mask whenever its state is read or loaded.

    Elsewhere it is held before every forward pass: too late for who saves the state that an
    optimizer left, or looks at the weights just loaded.
    """
    network.register_state_dict_pre_hook(_hold)
    network.register_load_state_dict_post_hook(_hold)
    return network


def _hold(network: nn.Module, *_: object) -> None:
    for hook in network._forward_pre_hooks.values():
        if isinstance(hook, StaysTicket):
            hook(network)

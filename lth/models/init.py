"""Initial weights by name, for every Linear, Conv and BatchNorm; biases are 0."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from lth.errors import LthError

INITS: dict[str, Callable[[Tensor], Tensor]] = {
    "glorot_normal": nn.init.xavier_normal_,
    "glorot_uniform": nn.init.xavier_uniform_,
    "kaiming_normal": nn.init.kaiming_normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_,
}


NORMS: dict[str, Callable[[Tensor], Tensor]] = {"ones": nn.init.ones_, "uniform": nn.init.uniform_}


def initialise(model: nn.Module, init: str, norms: str = "ones") -> nn.Module:
    """Draw the weights of ``model`` anew, in order, from torch's global generator; return it.

    ``std^2`` is ``2 / (fan_in + fan_out)`` for glorot (Glorot & Bengio 2010, eq. 12; the LTH
    papers' "Gaussian Glorot" is ``glorot_normal``, not truncated) and ``2 / fan_in`` for kaiming
    (He et al. 2015, arXiv 1502.01852, eq. 10). ``uniform`` has the same variance. ``norms`` are
    BatchNorm's weights: ``ones``, or ``uniform`` in [0, 1) as OpenLTH draws them.
    """
    if init not in INITS:
        raise LthError(f"model.init={init!r}: choose from {', '.join(INITS)}")
    if norms not in NORMS:
        raise LthError(f"model.norms={norms!r}: choose from {', '.join(NORMS)}")
    for module in model.modules():
        if isinstance(module, nn.Linear | _ConvNd):
            INITS[init](module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, _BatchNorm) and module.affine:
            NORMS[norms](module.weight)
    return model

"""What torch's objects are, beside and in their values."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.identity.origin import is_library


def tensor_digest(value: Tensor) -> str:
    """Hash a tensor's bytes: SHA-256."""
    flat = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    if flat.is_sparse or flat.is_quantized:
        raise LthError(f"a {value.layout} tensor cannot be told by its bytes: make it dense")
    return sha256(flat.view(torch.uint8).numpy().data).hexdigest()


def structure(model: nn.Module) -> Any:
    """Return what a model is made of beside its values: classes, attributes, ties, what trains."""
    numbers: dict[int, int] = {}
    modules = []
    for name, module in model.named_modules(remove_duplicate=False):
        tensors = [*module._parameters.items(), *module._buffers.items()]
        owned = [
            [n, numbers.setdefault(id(t), len(numbers)), str(t.dtype), t.requires_grad]
            for n, t in tensors if t is not None
        ]  # fmt: skip
        foreign = is_library(type(module).__module__)
        state = {
            k: v for k, v in vars(module).items()
            if k not in ("_parameters", "_buffers", "_modules")
            and not (foreign and k.startswith("_") and not ("_hooks" in k and v))
        }  # fmt: skip
        modules.append([name, type(module), owned, attributes_of(state)])
    return modules


def attributes_of(state: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Order attributes by name; of hooks, which torch files by running numbers, keep the hooks."""
    hooks = {n: list(v.values()) for n, v in state.items() if "_hooks" in n and isinstance(v, dict)}
    return sorted({**state, **hooks}.items(), key=lambda item: item[0])


def scripted(function: Any) -> Any:
    """Write what torch.jit has made of a function, those that it calls too, and its constants."""
    lines = [line.partition("#")[0].rstrip() for line in str(function.inlined_graph).splitlines()]
    constants = getattr(function.code_with_constants[1], "const_mapping", {})
    held = {n: tensor_digest(c) for n, c in constants.items() if isinstance(c, Tensor)}
    return [lines, sorted(held.items())]

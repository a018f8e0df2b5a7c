"""What an entry of the store must be before anything is made of it: data that fits together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from lth.files import demand, is_shape, packed_length, read_tensors
from lth.types import Params

Shapes = Mapping[str, tuple[int, ...]]


def check_entry(about: Mapping[str, Any], content: bytes) -> None:
    """Refuse an entry whose tensors are not those that it tells of."""
    shapes = _shapes(about["shapes"])
    names = about["names"]
    demand(isinstance(names, list) and len(names) == 2 and all(map(_are_names, names)), "its names")
    demand(set(shapes) <= set(names[0]), "a mask of no weight")
    for name in ("step", "steps"):
        demand(_is_whole(about.get(name, 0)), f"its {name}")
    demand(about["diverged"] is None or _is_whole(about["diverged"]), "its divergence")
    for name in ("measured", "curve"):
        _check_points(about[name])
    for name in ("model", "ticket"):
        demand(isinstance(about.get(name, {}), dict), f"its {name}")
    tensors, _ = read_tensors(content)
    expected = dict(_expected(tensors, shapes, names, about["diverged"] is None))
    demand(expected.keys() == tensors.keys(), "it has other tensors than it tells of")
    for name, shape in expected.items():
        demand(shape is None or tuple(tensors[name].shape) == shape, f"the shape of {name}")


def check_partial(about: Any, tensors: Params) -> dict[str, Any]:
    """Refuse what cannot be a member's state on its way; return what is told of it."""
    demand(isinstance(about, dict) and _is_whole(about["step"]), "its step")
    losses = about.get("losses", [])
    demand(isinstance(losses, list) and all(map(_is_number, losses)), "its losses")
    _check_points(about.get("curve", []))
    demand(_is_number(about.get("seconds", 0.0)), "its seconds")
    steps = about.get("snapshots", [])
    demand(isinstance(steps, list) and all(map(_is_whole, steps)), "its snapshots")
    parts = {n.partition("/")[0] for n in tensors}
    demand(all(f"at-{s}" in parts for s in steps), "a snapshot is missing")
    if "best" in about:
        best = about["best"]
        right = isinstance(best, list) and len(best) == 2 and all(map(_is_number, best))
        demand(right and "best" in parts, "its best state")
    return about


def _expected(
    tensors: Params, shapes: Shapes, names: list[list[str]], ended: bool
) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    """Yield the names that an entry's tensors must have, and their shapes where these are known."""
    kept = {"mask": dict(_kept(tensors, shapes, "mask"))}
    kinds = ["mask"]
    if any(n.startswith("final_mask/") for n in tensors):
        kept["final_mask"] = dict(_kept(tensors, shapes, "final_mask"))
        kinds.append("final_mask")
    for kind in kinds:
        yield from ((f"{kind}/{n}", (packed_length(s),)) for n, s in shapes.items())
    for name in (n.removeprefix("frozen/") for n in tensors if n.startswith("frozen/")):
        yield f"frozen/{name}", (math.prod(shapes[name]) - kept["mask"][name],)
    for which in ("start", "final") if ended else ("start",):
        counts = kept[kinds[-1]] if which == "final" else kept["mask"]
        for name in names[0]:
            start = tensors[f"start/params/{name}"]
            shape = (counts[name],) if name in shapes else tuple(start.shape)
            yield f"{which}/params/{name}", shape
        for name in names[1]:
            yield f"{which}/buffers/{name}", tuple(tensors[f"start/buffers/{name}"].shape)


def _kept(tensors: Params, shapes: Shapes, kind: str) -> Iterator[tuple[str, int]]:
    for name, shape in shapes.items():
        bits: Tensor = tensors[f"{kind}/{name}"]
        demand(str(bits.dtype) == "torch.uint8", f"the type of {kind} {name}")
        demand(tuple(bits.shape) == (packed_length(shape),), f"the length of {kind} {name}")
        count = int.from_bytes(bits.numpy().tobytes(), "big")
        spare = 8 * packed_length(shape) - math.prod(shape)
        demand(count & ((1 << spare) - 1) == 0, f"the last bits of {kind} {name}")
        yield name, count.bit_count()


def _shapes(value: Any) -> Shapes:
    demand(isinstance(value, dict), "its shapes")
    found = {n: is_shape(s) for n, s in value.items()}
    demand(all(s is not None for s in found.values()), "its shapes")
    return {n: s for n, s in found.items() if s is not None}


def _check_points(value: Any) -> None:
    demand(isinstance(value, list), "its values")
    for point in value:
        right = isinstance(point, list) and len(point) == 4 and _is_whole(point[0])
        right = right and isinstance(point[1], str) and isinstance(point[2], str)
        demand(right and _is_number(point[3]), "one of its values")


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _are_names(value: Any) -> bool:
    whole = isinstance(value, list) and all(isinstance(n, str) for n in value)
    return whole and len(set(value)) == len(value)

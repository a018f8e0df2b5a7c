"""Bytes of packed tickets: by Huffman's codes, by arithmetic ones, and by what else there is.

    python -m benchmarks.packing [STUDY] [--levels 11 13 15] [--values 4 16]

Of a study's folder: its trained winning tickets of trial 0, every layer's survivors moved to the
nearest of so many values from the least to the greatest, biases rounded to float16 (nothing is
trained on: these are sizes, not networks to use). Without one: LeNet-300-100 with weights drawn and
kept at random, where nothing lies beside its like. ``entropy`` is the bound of coders that take
positions and values for independent, one density and one row of shares per layer, and nothing else;
``lzma`` is that of the float32 values, its best preset.
"""

from __future__ import annotations

import argparse
import lzma
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

import lth
from lth.networks.net import Net
from lth.networks.ticket import draw_state

LENET = {"_target_": "lth.models.lenet", "input_shape": [1, 28, 28], "classes": 10,
         "widths": [300, 100], "init": "glorot_normal"}  # fmt: skip


def tickets(study: str | None, levels: list[int]) -> Iterator[tuple[str, Net]]:
    """Yield networks and what they are called."""
    if study is not None:
        for level in levels:
            ticket, state = (
                lth.Study(study).ticket(level=level),
                lth.Study(study).trained(level=level),
            )
            yield f"level {level}", replace(ticket.net, params=state.params, buffers=state.buffers)
        return
    generator = torch.Generator().manual_seed(0)
    params = draw_state(LENET, 0).params
    for density in (0.86, 0.086, 0.036):
        mask = {n: torch.rand(p.shape, generator=generator) < density
                for n, p in params.items() if p.ndim > 1}  # fmt: skip
        yield f"density {density}", Net(model=LENET, mask=mask, params=params, buffers={})


def clustered(net: Net, k: int) -> Net:
    """Move survivors to the nearest of k values, as far from each other; biases to float16."""
    params = {n: p.half().float() for n, p in net.params.items()}
    for name, mask in net.mask.items():
        kept = net.params[name][mask]
        values = torch.linspace(float(kept.min()), float(kept.max()), k).half().float()
        params[name] = torch.zeros_like(net.params[name])
        params[name][mask] = values[(kept[:, None] - values).abs().argmin(1)]
    return replace(net, params=params)


def bound(net: Net) -> float:
    """Return the bytes of positions and values at their entropy, biases in 16 bits."""
    bits = 0.0
    for name, value in net.baked().params.items():
        if name not in net.mask:
            bits += 16 * value.numel()
            continue
        kept = value.numpy() != 0
        _, counts = np.unique(value.numpy()[kept], return_counts=True)
        for shares in (np.array([kept.mean(), 1 - kept.mean()]) * kept.size, counts):
            shares = shares[shares > 0]
            bits -= float((shares * np.log2(shares / shares.sum())).sum())
    return bits / 8


def main(arguments: list[str] | None = None) -> None:
    """Print a table of bytes, and of seconds that packing and unpacking took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", nargs="?")
    parser.add_argument("--levels", type=int, nargs="+", default=[11, 13, 15])
    parser.add_argument("--values", type=int, nargs="+", default=[4, 16])
    asked = parser.parse_args(arguments)
    print(f"{'':>14} values  entropy  huffman  arithm.  packed     lzma    s in   s out")
    for name, net in tickets(asked.study, asked.levels):
        for k in asked.values:
            small = clustered(net, k)
            raw = b"".join(p.numpy().tobytes() for p in small.baked().params.values())
            sizes = [len(lth.pack(small, coding=c)) for c in ("huffman", "arithmetic")]
            begun = time.perf_counter()
            content = lth.pack(small)
            packed = time.perf_counter()
            lth.unpack(content)
            seconds = packed - begun, time.perf_counter() - packed
            best = min(len(lzma.compress(raw, preset=p)) for p in (6, 9 | lzma.PRESET_EXTREME))
            row = [bound(small), *sizes, len(content), best]
            print(f"{name:>14} {k:6d} " + " ".join(f"{n:8,.0f}" for n in row)
                  + " ".join(f"{s:7.2f}" for s in seconds))  # fmt: skip


if __name__ == "__main__":
    main()

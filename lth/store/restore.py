"""Tickets out of the store: every field of what a member started from, given back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from lth.errors import LthError
from lth.files import tensors_digest
from lth.networks import masks
from lth.networks.ticket import KINDS, PLAIN, Net, Ticket
from lth.spec.naming import MEND, data_only
from lth.spec.trust import Trust
from lth.store.entry import MissingSnapshot, StoredMember
from lth.types import Params


def ticket_of(
    entry: StoredMember, dense: StoredMember | None, origin: dict[str, Any], trust: Trust, mend: str
) -> Ticket:
    """Return the ticket that an entry's member trained from, every field of it.

    ``dense`` is the entry of the dense network of the same trial and learning rate: it has the
    values beneath the mask, and counts the weights that densities are shares of.
    """
    kept = entry.about.get("ticket", {})
    values = {n: v for n, v in kept.items() if KINDS.get(n) == "plain"}
    start, mask = entry.start, entry.mask
    told = {k: v for k, v in values.get("origin", {}).items() if v}  # what finding it took
    values |= {
        "model": entry.about["model"], "mask": mask, "buffers": start.buffers,
        "params": beneath(entry, dense, kept.get("params")), "step": entry.about["step"],
        "origin": told | origin, "frozen": entry.frozen,
    }  # fmt: skip
    own = kept.get("owned", [])
    values["owned"] = {n: t for n, t in (start.params | start.buffers).items() if n in own}
    for kind in ("params", "buffers") if values.get("views") else ():
        values[kind] = {n: t for n, t in values[kind].items() if n.rpartition("/")[0] not in mask}
    if dense is not None and (sizes := dense.about.get("ticket", {}).get("sizes")):
        values["total"] = sum(sizes.values())
    return Ticket(**data_only(values, PLAIN, trust, str(entry.folder), mend))


def net_of(entry: StoredMember, trust: Trust = (), mend: str = MEND, start: bool = False) -> Net:
    """Return the network that an entry's member was at its last step, or at its ``start``.

    A gate is gone at the end: what it found is the mask that training ended with.
    """
    kept = entry.about.get("ticket", {})
    if not isinstance(entry.about.get("model"), dict):
        raise LthError(f"{entry.folder}: it names no model; run the study again to train it")
    values = {
        "model": entry.about["model"], "frozen": entry.frozen, "views": kept.get("views", {}),
        "mask": entry.mask if start else entry.final_mask,
        "gate": kept.get("gate") if start else None,
    } | (entry.start if start else entry.final)._asdict()  # fmt: skip
    return Net(**data_only(values, PLAIN, trust, str(entry.folder), mend))


def beneath(entry: StoredMember, dense: StoredMember | None, digest: str | None) -> Params:
    """Return the starting weights, with the values beneath the mask where they are known.

    They are the dense run's, at the step that the ticket was rewound to or at its end; the digest
    tells which, or that it is neither: an arm that drew its own has 0 there.
    """
    mask = entry.mask
    start = {n: p for n, p in entry.start.params.items() if n.rpartition("/")[0] not in mask}
    if all(bool(m.all()) for m in mask.values()):
        return start
    for candidate in _candidates(entry, dense) if digest is not None else ():
        if any(n not in candidate or candidate[n].shape != m.shape for n, m in mask.items()):
            continue
        filled = {
            n: torch.where(mask[n], p, candidate[n]) if n in mask else p for n, p in start.items()
        }
        if tensors_digest(filled) == digest:
            return filled
    return masks.apply(start, mask)


def _candidates(entry: StoredMember, dense: StoredMember | None) -> Iterator[Params]:
    if dense is None:
        return
    try:
        yield dense.at(entry.about["step"]).params
    except MissingSnapshot:
        pass
    if dense.diverged is None:
        yield dense.final.params
    yield dense.start.params

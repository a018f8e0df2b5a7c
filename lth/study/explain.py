"""Why a member is, or is not, the same as one in the store: ``action=explain``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lth.imp import Cohort, loop
from lth.moves.phases import with_phases
from lth.store.entry import StoredMember
from lth.store.store import Store
from lth.study.setup import Setup
from lth.train.job import Job
from lth.train.key import differences
from lth.train.options import Listener
from lth.types import MemberId

TENSORS = {
    "start": "the weights that it starts from", "buffers": "the buffers that it starts from",
    "frozen": "the values at which pruned weights are frozen", "mask": "the mask",
    "data.train_inputs": "the training inputs", "data.train_targets": "the training targets",
    "data.test_inputs": "the test inputs", "data.test_targets": "the test targets",
    "data.own_validation": "what is validated on",
    "data._mean": "the mean for normalisation", "data._std": "the deviation for normalisation",
}  # fmt: skip
"""Parts that are digests of tensors, in words."""


@dataclass(frozen=True)
class Reason:
    """Why some members are in the store, or are not: ``words``, one line each."""

    places: tuple[MemberId, ...]
    stored: bool
    words: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Say it to a reader."""
        which = _which(self.places)
        if self.stored:
            yield f"in the store: {which}"
        else:
            yield f"not in the store: {which}"
        yield from (f"    {word}" for word in self.words)


def explain(setup: Setup) -> list[Reason]:
    """Compare every member whose ticket is known with the store; nothing is trained.

    A ticket below one that is not trained is not known, so its member is not among them.
    """
    store = Store(setup.out / "store")
    trainer = setup.trainer(store, Listener())
    candidates = [a for a in store.abouts() if "identity" in a]
    members: dict[tuple[bool, tuple[str, ...]], list[MemberId]] = defaultdict(list)

    def look_up(cohort: Cohort) -> dict[MemberId, StoredMember]:
        jobs = trainer.jobs(cohort)
        entries = trainer.look_up(jobs)
        for place, job in jobs.items():
            entry = entries.get(place)
            words = _nearest(job, candidates) if entry is None else _same(job, entry)
            members[place in entries, tuple(words)].append(place)
        return {p: e for p, e in entries.items() if not _lacking(jobs[p], e)}

    for _ in with_phases(loop(setup.parts, look_up), setup.parts, look_up):
        pass
    return [Reason(tuple(places), *key) for key, places in members.items()]


def _lacking(job: Job, entry: StoredMember) -> list[int]:
    """Return the steps whose states the study goes on from and the store has not."""
    return [] if entry.diverged is not None else [s for s in job.snapshots if not entry.has(s)]


def _same(job: Job, entry: StoredMember) -> list[str]:
    own = sorted(n for n in job.about["pieces"] if not n.startswith("lth.") and "." in n)
    code = f"; code of your own that was compared: {', '.join(own)}" if own else ""
    words = [f"equal in data, model, recipe, seeds, mask and starting weights{code}"]
    if lacking := _lacking(job, entry):
        steps = ", ".join(map(str, lacking))
        words.append(f"its state at step {steps} is not kept: it is trained again up to there")
    return words


def _nearest(job: Job, candidates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name what differs from the stored member that differs least."""
    if not candidates:
        return ["the store has no member"]
    parts = job.about["identity"]
    place = job.about["place"]

    def distance(about: Mapping[str, Any]) -> tuple[int, bool]:
        return len(differences(about["identity"], parts)), _place(about) != place

    nearest = min(candidates, key=distance)
    changed = differences(nearest["identity"], parts)
    words = dict.fromkeys(_word(path, *values) for path, values in changed.items())
    where = "has the same place in its study" if _place(nearest) == place else _where(nearest)
    return [
        f"the nearest in the store {where}; different are:",
        *(
            f"  {w}"
            for w in [*words, *_pieces(nearest.get("pieces", {}), job.about["pieces"])]
            if w
        ),
    ]


def _place(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the place that a stored member had in its study; those of before have no phase."""
    return {"phase": 0, **about.get("place", {})}


def _word(path: str, there: Any, here: Any) -> str:
    for name, word in TENSORS.items():
        if path == name or path.startswith(name + "."):
            return word
    if path.startswith("numerics"):
        return "the code of lth that trains (another version of lth)"
    if path.endswith((".code", ".made", ".structure", "data.class")):
        part = path.split(".")[1 if path.startswith("recipe.") else 0]
        what = "what it is made of" if path.endswith("structure") else "its code"
        return f"{part}: {what}"
    path = path.replace(".factory.with.", ".").replace(".with.", ".")
    return f"{path}: {_short(there)} there, {_short(here)} here"


def _pieces(there: Mapping[str, str], here: Mapping[str, str]) -> Iterator[str]:
    """Name the functions, classes and constants that differ."""
    for name in dict.fromkeys((*there, *here)):
        old, new = there.get(name), here.get(name)
        if old == new:
            continue
        if old is None or new is None:
            yield f"  {name}: only {'here' if old is None else 'there'}"
        else:
            plain = max(len(old), len(new)) < 12
            yield f"  {name}: " + (f"{old} there, {new} here" if plain else "edited")


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _where(about: Mapping[str, Any]) -> str:
    place = about.get("place", {})
    return "is " + ", ".join(
        f"{k} {place[k]}" for k in ("arm", "level", "trial", "lr") if k in place
    )


def _which(places: Sequence[MemberId]) -> str:
    by_arm: dict[str, list[MemberId]] = defaultdict(list)
    for place in places:
        by_arm[place.arm].append(place)
    said = []
    for arm, members in by_arm.items():
        levels = _numbers({p.level for p in members})
        trials = _numbers({p.trial for p in members})
        said.append(f"{arm}, level {levels}, trial {trials}")
    return "; ".join(said)


def _numbers(values: set[int]) -> str:
    low, high = min(values), max(values)
    if len(values) == 1:
        return str(low)
    if values == {*range(low, high + 1)}:
        return f"{low} to {high}"
    return ", ".join(map(str, sorted(values)))

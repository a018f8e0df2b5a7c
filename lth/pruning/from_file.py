"""Tickets from files: masks, and perhaps weights, of one's own, trained and compared as tickets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lth.errors import LthError
from lth.files import header, is_torchs, reading
from lth.networks import adopt
from lth.networks.masks import load_mask
from lth.networks.ticket import State, Ticket
from lth.pruning.experiment import SearchResult
from lth.pruning.search import Preflight
from lth.pruning.turn import Turn
from lth.types import Mask

PLACES = "{trial}, {lr} and {level} stand for numbers there, and nothing else may stand in braces"


@dataclass(frozen=True)
class FromFile:
    """Takes each level's mask, and perhaps its weights, from files."""

    mask: str
    weights: str | None = None
    iterates: ClassVar[bool] = False

    def check(self, preflight: Preflight) -> None:
        """Refuse before any work a file that is not there, or does not fit this model."""
        assert preflight.initial is not None
        for place in preflight.places:
            self._of(place, preflight.initial(place[0]), preflight.mask)

    def trained_levels(self, level: int) -> range:
        """None of this study's: what finding the files' masks cost is not known."""
        return range(0)

    def __call__(self, turn: Turn) -> SearchResult:
        """Return the file's mask; a layer that it does not name is kept whole."""
        place = turn.chain.trial, turn.chain.lr, turn.level
        return self._of(place, turn.dense.start, turn.dense.mask)

    def _of(self, place: tuple[int, float, int], own: State, whole: Mask) -> SearchResult:
        path = _path(self.mask, place)
        with _told(path):
            mask, start = _read(path, own, whole)
            _fit(mask, whole)
        if self.weights is not None:
            path = _path(self.weights, place)
            with _told(path):
                start = _read_weights(path, own)
        return SearchResult({n: mask.get(n, m) for n, m in whole.items()}, start=start)


def _path(pattern: str, place: tuple[int, float, int]) -> Path:
    trial, lr, level = place
    try:
        return Path(pattern.format(trial=trial, lr=f"{lr:g}", level=level)).expanduser()
    except (KeyError, IndexError, ValueError, AttributeError):
        raise LthError(f"search: {pattern}: {PLACES}") from None


def _read(path: Path, own: State, whole: Mask) -> tuple[Mask, State | None]:
    """Read a mask, and the weights that lie in the same file, if they do.

    A whole state without a mask is pruned where it is exactly 0.
    """
    if _is_torch(path):
        state, pruned = adopt.renamed(adopt.read_file(path), own, "mask")
        if not pruned and own.params.keys() <= state.keys():
            pruned = {n: state[n] != 0 for n in whole}
            if all(bool(m.all()) for m in pruned.values()):
                raise LthError("it has no mask, and no weight that is 0")
        mask = {n: adopt.as_mask(n, m) for n, m in (pruned or state).items()}
        return mask, _finite(State(*adopt.completed(state, own))) if pruned else None
    if not _is_ticket(path):
        return load_mask(path), None
    ticket = _ticket(path)
    return ticket.mask, _finite(State(*adopt.completed(ticket.params | ticket.buffers, own)))


def _read_weights(path: Path, own: State) -> State:
    if _is_torch(path):
        state, _ = adopt.renamed(adopt.read_file(path), own, "weights")
        return _finite(State(*adopt.completed(state, own)))
    if not _is_ticket(path):
        raise LthError("it holds a mask, no weights")
    ticket = _ticket(path)
    return _finite(State(*adopt.completed(ticket.params | ticket.buffers, own)))


def _ticket(path: Path) -> Ticket:
    ticket = Ticket.load(path)
    plain = Ticket(
        model=ticket.model, mask=ticket.mask, params=ticket.params, buffers=ticket.buffers
    )
    for name in (
        "frozen", "dynamics", "gate", "views", "stretch", "changes", "noise", "teacher", "examples",
    ):  # fmt: skip
        if getattr(ticket, name) != getattr(plain, name):
            raise LthError(f"its ticket has {name}: only a mask and weights can be trained here")
    return ticket


def _finite(state: State) -> State:
    for name, value in (state.params | state.buffers).items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise LthError(f"its {name} holds values that are no finite numbers")
    return state


def _fit(mask: Mask, whole: Mask) -> None:
    for name, part in mask.items():
        if name not in whole:
            raise LthError(f"it masks {name}, which this study does not prune: {', '.join(whole)}")
        if part.shape != whole[name].shape:
            raise LthError(
                f"its mask of {name} has shape {tuple(part.shape)}, not {tuple(whole[name].shape)}"
            )


def _is_torch(path: Path) -> bool:
    with reading(path, "file", "name another"), open(path, "rb") as file:
        return is_torchs(file.read(9))


def _is_ticket(path: Path) -> bool:
    with reading(path, "file", "write it again"):
        return "ticket" in header(path.read_bytes())[1]


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say of which file it is, where that is not said."""
    try:
        yield
    except LthError as error:
        said = str(error)
        raise LthError(said if str(path) in said else f"search: {path}: {said}") from None


def from_file(mask: str, weights: str | None = None) -> FromFile:
    """Train tickets of one's own: the masks, and perhaps the starting weights, that files hold.

    A file is a ticket (``Ticket.save``, whose weights are taken too), a mask (``masks.save_mask``),
    or a dict of tensors by weight name that ``torch.save`` wrote: OpenLTH's ``mask.pth``, what
    ``torch.nn.utils.prune`` leaves, or a whole state, which is pruned where it is exactly 0.
    ``{level}``, ``{trial}`` and ``{lr}`` in a name stand for numbers, so that each level has its
    own file. Without ``weights`` a mask is trained from where this study rewinds to, unless weights
    lie in its file; with them from step 0. What finding a mask cost is not known, and counts as
    nothing.
    """
    if not isinstance(mask, str) or mask in ("", "???"):
        raise LthError("search.mask: name the file of the mask or ticket, such as level{level}.pth")
    return FromFile(mask, weights)

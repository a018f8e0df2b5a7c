"""What layers give inside a forward pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from lth.networks.rewrites.cuts import grouped, own_segments

Given = dict[str, list[Any]]
"""What layers gave in a forward pass, call after call, in the order they ran."""


def given_by(
    model: nn.Module, names: Sequence[str], inputs: Tensor, changed: Collection[str] = ()
) -> tuple[Given, Any]:
    """Run a network; return what the layers named give on the way, and its outputs.

    Of layers whose outputs are ``changed`` later, in place, it is what they were.
    """
    own = own_segments(model)
    if own is None:
        with caught(model, names, changed) as given:
            return given, model(inputs)
    found, state = Given(), inputs
    *parts, last = grouped(own, names)
    for name, part in zip(names, parts, strict=True):
        given, state = part(state)
        found[name] = [given]
    return found, last(state)


@contextmanager
def caught(
    model: nn.Module, names: Sequence[str], changed: Collection[str] = ()
) -> Iterator[Given]:
    """Collect what layers give inside; by hooks of this pass, for one that stays is copied too."""
    given = Given()

    def keep(name: str) -> Any:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            copied = name in changed and isinstance(output, Tensor)
            given.setdefault(name, []).append(output.clone() if copied else output)

        return note

    with ExitStack() as hooks:
        for name in names:
            handle = model.get_submodule(name).register_forward_hook(keep(name))
            hooks.callback(handle.remove)
        yield given


def changed_in_place(model: nn.Module, names: Sequence[str], example: Tensor) -> set[str]:
    """Return of which layers the output is not, in the end, what it was as it was given."""
    versions: list[tuple[str, Tensor, int]] = []

    def keep(name: str) -> Any:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                versions.append((name, output, output._version))

        return note

    if own_segments(model) is not None:
        return set()
    handles = [model.get_submodule(n).register_forward_hook(keep(n)) for n in names]
    try:
        model(example)
    finally:
        for handle in handles:
            handle.remove()
    return {name for name, output, version in versions if output._version != version}

"""Which weights a model has: those of Linear, Conv, recurrent and attention modules, in order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import prod
from typing import NamedTuple

from torch import nn
from torch.nn.modules.conv import _ConvNd

from lth.errors import LthError, nearest
from lth.networks.parametrized import weights_of
from lth.spec.patterns import fits, names_in_text


class Other(NamedTuple):
    """A parameter that is not pruned by default: its shape, and what it is."""

    shape: tuple[int, ...]
    kind: str


FROZEN, EMBEDDING, VECTOR, RAW = "frozen", "embeddings", "biases, norms and other vectors", "others"


@dataclass(frozen=True)
class Layers:
    """The weights of one architecture: shapes by name, which are convolutional, which is last.

    ``others`` are the parameters that are no weights, so never pruned nor counted in a density, but
    where one is ``included``. ``fixed`` says why a weight cannot be pruned (it is made of other
    parameters), ``parts`` which parameters make which weight, ``heads`` which layers give the
    logits, where that was looked up; ``tied`` are weights that an embedding shares.
    """

    shapes: dict[str, tuple[int, ...]]
    convs: frozenset[str]
    output: str
    others: Mapping[str, Other] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    heads: tuple[str, ...] = ()
    tied: frozenset[str] = frozenset()

    @property
    def sizes(self) -> dict[str, int]:
        """Number of weights by name."""
        return {name: prod(shape) for name, shape in self.shapes.items()}

    @property
    def parameters(self) -> dict[str, int]:
        """Number of entries of every weight and every other parameter by name."""
        return self.sizes | {n: prod(o.shape) for n, o in self.others.items()}

    @property
    def total(self) -> int:
        """All weights of the dense network, prunable or not: the denominator of density."""
        return sum(self.sizes.values())

    def match(self, patterns: Iterable[str]) -> set[str]:
        """Names that the patterns match; ``output`` stands for the output layer."""
        return {name for pattern in names_in_text(patterns) for name in self.named(pattern)}

    def named(self, pattern: str) -> list[str]:
        """Return the weights that a shell-style pattern of them, or of their modules, matches.

        ``output`` is the output layer, unless a layer is called so. At least one.
        """
        found = [n for n in self.shapes if fits(pattern, n)]
        if pattern == "output" and self.output and not found:
            found = [self.output]
        if not found:
            raise LthError(f"no weight is named {pattern!r}{nearest(pattern, self.shapes)}")
        return found

    def including(self, patterns: Iterable[str]) -> Layers:
        """Count other parameters that the patterns match among the weights, after the rest."""
        added: dict[str, tuple[int, ...]] = {}
        for pattern in names_in_text(patterns):
            if pattern in self.shapes:
                continue
            names = [n for n in self.others if fnmatchcase(n, pattern)]
            if not names and not any(fits(pattern, n) for n in self.shapes):
                known = ", ".join(self.others) or "none"
                raise LthError(
                    f"prune.include: no parameter is named {pattern!r}; left out are {known}"
                )
            added |= {n: self.others[n].shape for n in names}
        if not added:
            return self
        others = {n: o for n, o in self.others.items() if n not in added}
        parts = {**self.parts, **{n: n for n in added}}
        shapes = {**self.shapes, **added}
        output = self.output or list(shapes)[-1]
        return replace(self, shapes=shapes, others=others, parts=parts, output=output)

    def only(self, trained: Collection[str]) -> Layers:
        """Leave out the weights none of whose parameters is trained: a target network's copies."""
        gone = {
            w for w in self.shapes
            if not any(n in trained for n, of in [(w, w), *self.parts.items()] if of == w)
        }  # fmt: skip
        shapes = {n: s for n, s in self.shapes.items() if n not in gone}
        others = {**self.others, **{n: Other(tuple(self.shapes[n]), FROZEN) for n in gone}}
        parts = {n: w for n, w in self.parts.items() if w not in gone}
        output = self.output if self.output in shapes else next(reversed(shapes), "")
        return replace(self, shapes=shapes, others=others, parts=parts, output=output)

    def ending(self, heads: tuple[str, ...]) -> Layers:
        """Take the output layer from what gives the logits; of several the one registered last."""
        return replace(self, heads=heads, output=heads[-1]) if heads else self


def describe(model: nn.Module) -> Layers:
    """List the weights of ``model``; the output layer is taken to be the one registered last.

    A weight whose parameter is frozen (``requires_grad=False``) does not train: it is left out.
    """
    parameters = dict(model.named_parameters())
    first_names = {id(p): n for n, p in parameters.items()}  # a tied weight counts once
    shapes: dict[str, tuple[int, ...]] = {}
    fixed: dict[str, str] = {}
    parts: dict[str, str] = {}
    convs: set[str] = set()
    for path, module in model.named_modules(remove_duplicate=True):
        for weight in weights_of(module):
            own = {n: _of(module, n) for n in weight.parts}
            if not own or not any(p.requires_grad for p in own.values()):
                continue
            made = [first_names[id(p)] for p in own.values()]
            if weight.through is not None:
                name = first_names[id(own[weight.through])]
                shapes.setdefault(name, tuple(own[weight.through].shape))
            else:
                name = f"{path}.{weight.name}" if path else weight.name
                shapes[name] = tuple(getattr(module, weight.name).shape)
                fixed[name] = weight.why
            parts |= dict.fromkeys(made, name)
            convs |= {name} if isinstance(module, _ConvNd) else set()
    kinds = _kinds(model, first_names)
    others = {n: Other(tuple(p.shape), kinds[n]) for n, p in parameters.items() if n not in parts}
    others |= {
        n: Other(tuple(p.shape), VECTOR)
        for n, p in parameters.items()
        if n in parts and n not in shapes and parts[n] not in fixed
    }
    if not shapes and all(o.kind == VECTOR for o in others.values()):
        raise LthError(f"{type(model).__name__} has no Linear or Conv weights to prune")
    tied = frozenset(n for n in shapes if kinds.get(n) == EMBEDDING)
    return Layers(
        shapes, frozenset(convs), list(shapes)[-1] if shapes else "", others, fixed, parts,
        tied=tied,
    )  # fmt: skip


def summary(layers: Layers, prunable: Collection[str]) -> str:
    """Say in one line what is pruned and what is left out, with its share of the parameters."""
    sizes, kinds = layers.parameters, dict[str, list[str]]()
    total = sum(sizes.values())
    pruned = [n for n in layers.shapes if n in prunable]
    kinds["spared by the pruning rule"] = [n for n in layers.shapes if n not in prunable]
    for kind in (EMBEDDING, FROZEN, RAW, VECTOR):
        kinds[kind] = [n for n, o in layers.others.items() if o.kind == kind]
    left = [_group(kind, names, sizes, total) for kind, names in kinds.items() if names]
    count = sum(sizes[n] for n in pruned)
    text = f"prunes {count:,} of {total:,} parameters ({_share(count, total)})"
    text += f"; left out: {'; '.join(left)}" if left else ""
    if kinds[RAW] or kinds[EMBEDDING]:
        text += f"; prune.include=[{(kinds[RAW] or kinds[EMBEDDING])[0]}] prunes one too"
    tied = [n for n in pruned if n in layers.tied]
    text += f"; {', '.join(tied)} is an embedding's too, and pruned with it" if tied else ""
    return text


def _group(kind: str, names: list[str], sizes: Mapping[str, int], total: int) -> str:
    count = sum(sizes[n] for n in names)
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    words = kind if kind == VECTOR else f"{kind}: {shown}" if kind != RAW else shown
    return f"{words} {count:,} ({_share(count, total)})"


def _share(count: int, total: int) -> str:
    return f"{100 * count / max(1, total):.1f} %"


def _of(module: nn.Module, path: str) -> nn.Parameter:
    where, _, name = path.rpartition(".")
    found = module.get_submodule(where)._parameters[name]
    assert found is not None
    return found


def _kinds(model: nn.Module, first_names: Mapping[int, str]) -> dict[str, str]:
    """Say what each parameter is, whether it is a weight or not."""
    found: dict[str, str] = {}
    for module in model.modules():
        for own, parameter in module._parameters.items():
            if parameter is None:
                continue
            kind = VECTOR if parameter.ndim < 2 or own.startswith("bias") else RAW
            if "Norm" in type(module).__name__:
                kind = VECTOR
            embeds = isinstance(module, nn.Embedding | nn.EmbeddingBag)
            kind = EMBEDDING if embeds else kind
            kind = kind if parameter.requires_grad else FROZEN
            name = first_names[id(parameter)]
            found[name] = kind if embeds else found.get(name, kind)
    return found

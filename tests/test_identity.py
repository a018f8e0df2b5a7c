"""Law 10: a corpus of edits, each marked "changes results" or "does not", is told apart.

A small project of a user's (``PROJECT``: eleven files) is imported anew after each edit and the key
of its dense member is compared with that of the unedited one. Nothing is trained.
"""

import functools
import importlib
import linecache
import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from lth import LthError
from lth.config import compose
from lth.identity import Walk, code_key, described, origin
from lth.identity.source import read
from lth.imp import dense
from lth.store.store import Store
from lth.study.setup import prepare
from lth.train.options import Listener
from lth.train.trainer import Trainer
from lth.types import WINNER, MemberId

PROJECT = {
    "net.py": '''
        """A network."""
        import logging
        import math
        import warnings
        from functools import partial, lru_cache

        import numpy as np
        import torch
        from torch import nn

        import helpers
        import kit.tools
        from base import Base
        from consts import *
        from deep import one
        from kit import Block, settings
        from marks import doubled, tuned

        log = logging.getLogger(__name__)
        WIDTH = 6
        WIDE = 2.0
        BIAS = torch.tensor([0.25, 0.5])
        GRID = np.array([1.0, 2.0])
        TABLE = {"relu": torch.relu, "own": helpers.bend}
        UNUSED = 1
        cubed = partial(helpers.power, exponent=3)
        halve = lambda x: x * 0.5
        _seen = {}
        _table = {"scale": 1.0, "wide": WIDE}

        def unused(x):
            return x + UNUSED

        @lru_cache
        def width(factor=1):
            return WIDTH * factor

        def remember(key):
            _seen[key] = True
            _table["calls"] = _table.get("calls", 0) + 1
            return key if _table["scale"] else None

        def make_scaler(scale):
            def scaler(x):
                return x * scale
            return scaler

        scaler = make_scaler(1.5)

        class Net(Base):
            """It has a docstring."""

            slope: float = 0.5
            names = ("a", "b")

            def __init__(self, classes: int = 4, kind: str = "own", *, extra: float = 0.0) -> None:
                super().__init__()
                if classes < 1:
                    raise ValueError(f"classes={classes}: too few")
                assert classes < 100, "too many"
                self.body = nn.Linear(16, width())
                self.block = Block(width())
                self.head = nn.Linear(width(), classes)
                self.kind = kind
                self.extra = extra + settings.offset
                self.head.register_forward_hook(helpers.hook)

            def squash(self, x):
                x = TABLE[self.kind](x)  # a comment
                return halve(x) + one(x) + BIAS.sum() + float(GRID.sum()) * 0

            @property
            def gain(self):
                return 2.0

            @staticmethod
            def shift(x):
                return x + OFFSET

            @doubled
            def late(self, x):
                return x - 1

            @tuned(times=2)
            def tune(self, x):
                return x

            def middle(self, x):
                remember("middle")
                log.info("in the middle")
                print("here")
                warnings.warn("careful", stacklevel=2)
                from lazy import touch
                y = touch(x) * helpers.scale(x).mean() + cubed(x) + scaler(x)
                return self.late(y) + self.tune(x) + kit.tools.nudge(x)
    ''',
    "base.py": '''
        from grand import Grand

        class Base(Grand):
            def forward(self, x):
                x = self.body(x.flatten(1)).relu()
                x = self.block(self.squash(x)) * self.slope * self.gain
                return self.head(self.shift(x)) + self.extra + self.top
    ''',
    "grand.py": '''
        from torch import nn

        class Grand(nn.Module):
            top = 0.0
    ''',
    "helpers.py": '''
        FACTOR = 1.0
        OTHER = 5

        def scale(x, by=1.0):
            return x * FACTOR * by

        def other(x):
            return x * OTHER

        def bend(x):
            return x.clamp(-1, 1)

        def power(x, exponent):
            return x ** exponent

        def hook(module, inputs, output):
            return output * 1.0
    ''',
    "deep.py": "import deeper\n\ndef one(x):\n    return deeper.two(x)\n",
    "deeper.py": "from deepest import LAST\n\ndef two(x):\n    return x * LAST\n",
    "deepest.py": "LAST = 0.125\n",
    "consts.py": "OFFSET = 0.5\nSPARE = 3\n",
    "lazy.py": "SLOW = 1\n\ndef touch(x):\n    return x * SLOW\n",
    "marks.py": '''
        import functools

        def doubled(method):
            @functools.wraps(method)
            def inner(self, x):
                return 2 * method(self, x)
            return inner

        def tuned(times):
            def wrap(method):
                def inner(self, x):
                    return method(self, x) * times
                return inner
            return wrap
    ''',
    "kit/__init__.py": '''
        from .block import Block
        from .config import settings
    ''',
    "kit/block.py": '''
        from enum import Enum
        from torch import nn

        class Mode(Enum):
            FAST = 1
            SLOW = 2

        class Block(nn.Module):
            mode = Mode.FAST

            def __init__(self, width):
                super().__init__()
                self.norm = nn.LayerNorm(width)

            def forward(self, x):
                return self.norm(x) if self.mode is Mode.FAST else x
    ''',
    "kit/config.py": '''
        from dataclasses import dataclass

        @dataclass
        class Settings:
            """What one may set."""

            offset: float = 0.0
            unit: int = 1

        settings = Settings()
    ''',
    "kit/tools.py": "STEP = 1e-1\n\ndef nudge(x):\n    return x + STEP\n",
    "train.py": '''
        import math
        import torch
        from torch.nn import functional as F

        SMOOTH = 0.1

        class Focal:
            weight = 1.0

            def __init__(self, gamma=2.0):
                self.gamma = gamma

            def __call__(self, logits, targets):
                """Focal loss."""
                ce = F.cross_entropy(logits, targets, label_smoothing=SMOOTH, reduction="none")
                return (self.weight * (1 - (-ce).exp()) ** self.gamma * ce).mean()

        def focal(gamma: float = 2.0):
            return Focal(gamma)

        def decay(rate: float = 0.99):
            def factor(step, steps):
                return rate ** step
            return factor

        class Slow(torch.optim.SGD):
            brake = 1.0

            def step(self, closure=None):
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            p.grad.mul_(self.brake)
                return super().step(closure)
    ''',
    "data.py": '''
        import dataclasses
        import torch
        from lth.data import tensors

        NOISE = 2

        @dataclasses.dataclass
        class Table:
            values: torch.Tensor

        class Jitter:
            """Adds noise."""

            def __init__(self, strength, table):
                self.strength, self.table = strength, table

            def draw(self, batch, generator):
                return torch.randint(0, NOISE, (batch,), generator=generator)

            def __call__(self, inputs, draws):
                return inputs + (self.strength * draws[:, None, None, None]).to(inputs.dtype)

        def make(validation: int = 8):
            generator = torch.Generator().manual_seed(0)
            x = torch.randint(0, 255, (40, 1, 4, 4), generator=generator).to(torch.uint8)
            y = torch.arange(40) % 4
            table = Table(torch.arange(5000.0))
            return tensors("own", (x[:30], y[:30]), (x[30:], y[30:]), validation, Jitter(3, table))
    ''',
}  # fmt: skip

CHANGES = [  # (file, before, after)
    ("net.py", "WIDTH = 6", "WIDTH = 7"),
    ("net.py", '{"scale": 1.0,', '{"scale": 0.0,'),
    ("net.py", "WIDE = 2.0", "WIDE = 3.0"),
    ("net.py", "[0.25, 0.5]", "[0.25, 0.75]"),
    ("net.py", "np.array([1.0, 2.0])", "np.array([1.0, 3.0])"),
    ("net.py", "np.array([1.0, 2.0])", "np.array([1.0, 2.0], np.float32)"),
    ("net.py", '"own": helpers.bend', '"own": helpers.other'),
    ("net.py", '"relu": torch.relu', '"relu": torch.sigmoid'),
    ("net.py", "exponent=3", "exponent=2"),
    ("net.py", "lambda x: x * 0.5", "lambda x: x * 0.25"),
    ("net.py", "WIDTH * factor", "WIDTH * factor * 1"),
    ("net.py", "def width(factor=1)", "def width(factor=2)"),
    ("net.py", "return x * scale\n", "return x + scale\n"),
    ("net.py", "make_scaler(1.5)", "make_scaler(1.25)"),
    ("net.py", "slope: float = 0.5", "slope: float = 0.75"),
    ("net.py", '("a", "b")', '("a", "c")'),
    ("net.py", 'kind: str = "own"', 'kind: str = "relu"'),
    ("net.py", "extra: float = 0.0", "extra: float = 0.5"),
    ("net.py", "nn.Linear(16, width())", "nn.Linear(16, width(), bias=False)"),
    ("net.py", "helpers.hook)", "lambda m, i, o: o * 2)"),
    ("net.py", "halve(x) + one(x)", "one(x) - halve(x)"),
    ("net.py", "return 2.0", "return 2.5"),
    ("net.py", "return x + OFFSET", "return x - OFFSET"),
    ("net.py", "@doubled\n", "@tuned(times=3)\n"),
    ("net.py", "@tuned(times=2)", "@tuned(times=4)"),
    ("net.py", "helpers.scale(x).mean()", "helpers.scale(x, 2.0).mean()"),
    ("net.py", "from consts import *", "from consts import *\nOFFSET = 0.75"),
    ("net.py", "if classes < 1:", "if classes < 2:"),
    ("net.py", "raise ValueError", "raise TypeError"),
    ("net.py", "class Net(Base):", "class Net(Base, helpers_mixin.Mixin):"),
    ("base.py", "* self.slope * self.gain", "* self.gain"),
    ("base.py", "class Base(Grand):", "class Base(Grand):\n    training_only = True"),
    ("grand.py", "top = 0.0", "top = 1.0"),
    ("helpers.py", "FACTOR = 1.0", "FACTOR = 2.0"),
    ("helpers.py", "FACTOR = 1.0", "FACTOR = 1"),
    ("helpers.py", "by=1.0", "by=1.5"),
    ("helpers.py", "clamp(-1, 1)", "clamp(-2, 1)"),
    ("helpers.py", "x ** exponent", "x * exponent"),
    ("helpers.py", "output * 1.0", "output * 1.5"),
    ("deep.py", "deeper.two(x)", "2 * deeper.two(x)"),
    ("deeper.py", "x * LAST", "x + LAST"),
    ("deepest.py", "0.125", "0.25"),
    ("consts.py", "OFFSET = 0.5", "OFFSET = 0.25"),
    ("lazy.py", "SLOW = 1", "SLOW = 2"),
    ("lazy.py", "x * SLOW", "x - SLOW"),
    ("marks.py", "return 2 * method(self, x)", "return 3 * method(self, x)"),
    ("marks.py", "method(self, x) * times", "method(self, x) + times"),
    ("kit/block.py", "mode = Mode.FAST", "mode = Mode.SLOW"),
    ("kit/block.py", "FAST = 1", "FAST = 3"),
    ("kit/block.py", "self.norm(x) if", "-self.norm(x) if"),
    ("kit/block.py", "nn.LayerNorm(width)", "nn.LayerNorm(width, eps=1e-3)"),
    ("kit/config.py", "offset: float = 0.0", "offset: float = 0.5"),
    ("kit/config.py", "Settings()", "Settings(unit=2)"),
    ("kit/tools.py", "STEP = 1e-1", "STEP = 1e-2"),
    ("kit/tools.py", "x + STEP", "x - STEP"),
    ("train.py", "SMOOTH = 0.1", "SMOOTH = 0.2"),
    ("train.py", "weight = 1.0", "weight = 2.0"),
    ("train.py", "gamma: float = 2.0", "gamma: float = 3.0"),
    ("train.py", "** self.gamma * ce", "* self.gamma * ce"),
    ("train.py", "rate ** step", "rate * step"),
    ("train.py", "rate: float = 0.99", "rate: float = 0.9"),
    ("train.py", "brake = 1.0", "brake = 0.5"),
    ("train.py", "p.grad.mul_(self.brake)", "p.grad.add_(self.brake)"),
    ("data.py", "manual_seed(0)", "manual_seed(1)"),
    ("data.py", "torch.arange(40) % 4", "(torch.arange(40) + 1) % 4"),
    ("data.py", "Jitter(3, table)", "Jitter(4, table)"),
    (
        "data.py",
        "torch.arange(5000.0)",
        "torch.arange(5000.0).index_fill(0, torch.tensor(9), 0.0)",
    ),
    ("data.py", "inputs + (self", "inputs - (self"),
    ("data.py", "NOISE = 2", "NOISE = 3"),
    ("data.py", "validation: int = 8", "validation: int = 9"),
    ("data.py", "(x[:30], y[:30])", "(x[:29], y[:29])"),
]

SAME = [
    ("net.py", '"""A network."""', '"""Another word for it."""'),
    ("net.py", '"""It has a docstring."""', ""),
    ("net.py", "# a comment", "# other words"),
    ("net.py", "classes: int = 4", "classes: 'int | None' = 4"),
    ("net.py", ") -> None:", "):"),
    ("net.py", "slope: float = 0.5", "slope = 0.5"),
    ("net.py", "slope: float = 0.5", "slope: float = 5e-1"),
    ("net.py", "UNUSED = 1", "UNUSED = 2"),
    ("net.py", "return x + UNUSED", "return x - UNUSED"),
    ("net.py", ": too few", ": give more"),
    ("net.py", '"too many"', '"far too many"'),
    ("net.py", '"in the middle"', '"halfway"'),
    ("net.py", 'print("here")', 'print("there")'),
    ("net.py", '"careful"', '"look out"'),
    ("net.py", "return x * scale\n", "return (x\n                * scale)\n"),
    ("net.py", "_seen = {}", "_seen = {  # what was seen\n}"),
    ("net.py", "cubed = partial(", "\n\n\ncubed = partial("),
    ("net.py", "def squash(self, x):", "def squash(self, x):\n        'Say what.'"),
    ("net.py", "return x - 1", "pass\n        return x - 1"),
    ("net.py", "import math\n", "import math\nimport json\n"),
    ("net.py", "def unused(x):", "class Unused(Base):\n    pass\n\ndef unused(x):"),
    ("base.py", "x = self.body(x.flatten(1)).relu()", "x = ((self.body(x.flatten(1)))).relu()"),
    ("helpers.py", "OTHER = 5", "OTHER = 6"),
    ("helpers.py", "def other(x):\n", "def other(x):\n    x = x + 1\n"),
    ("deep.py", "import deeper", "import deeper  # noqa"),
    ("deeper.py", "def two(x):", "def two(x: 'Tensor') -> 'Tensor':"),
    ("consts.py", "SPARE = 3", "SPARE = 4"),
    ("kit/block.py", "def __init__(self, width):", "def __init__(self, width: int):"),
    ("kit/config.py", '"""What one may set."""', '"""Settings."""'),
    ("kit/config.py", "unit: int = 1", "unit: float = 1"),
    ("kit/tools.py", "1e-1", "0.1"),
    ("train.py", '"""Focal loss."""', '"""Lin et al."""'),
    ("train.py", "import math\n", ""),
    ("data.py", '"""Adds noise."""', '"""Jitters."""'),
    ("data.py", 'tensors("own"', 'tensors("mine"'),
    ("data.py", "y = torch.arange(40) % 4", "y = torch.tensor([0, 1, 2, 3] * 10)"),
]


def text_of(content):
    lines = content.strip("\n").split("\n")
    indent = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[indent:] for line in lines) + "\n"


TEXTS = {name: text_of(content) for name, content in PROJECT.items()}
MODULES = {n.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for n in TEXTS}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write the project anew, with an edit, and return its dense member's job."""
    count = 0

    def make(edit=None, **settings):
        nonlocal count
        count += 1
        root = tmp_path / f"{'deep/' * (count % 3)}project{count}"
        texts = TEXTS | {"helpers_mixin.py": "class Mixin:\n    def extra(self): return 1\n"}
        if edit is not None:
            name, before, after = edit
            assert before in texts[name], f"{name} has no {before!r}"
            texts = {**texts, name: texts[name].replace(before, after)}
        texts["net.py"] = "import helpers_mixin\n" + texts["net.py"]
        for name, text in texts.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for module in (*MODULES, "helpers_mixin"):
            sys.modules.pop(module, None)
        monkeypatch.syspath_prepend(str(root))
        return job_of(root, **settings)

    yield make
    for module in (*MODULES, "helpers_mixin"):
        sys.modules.pop(module, None)


def settings_of(root, **changes):
    recipe = {
        "steps": 4, "batch": 4, "eval_every": 2, "lr": 0.1,
        "optimizer": {"_target_": "train.Slow", "momentum": 0.9},
        "schedule": {"_target_": "train.decay"}, "loss": {"_target_": "train.focal"},
    }  # fmt: skip
    given = {"model": {"_target_": "net.Net"}, "data": {"_target_": "data.make"}} | changes
    recipe |= given.pop("recipe", {})
    return given | {"recipe": recipe, "out": str(root / "out"), "logger": "none", "levels": 1}


def job_of(root, **changes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "lth.study.setup.check_model", lambda *_: None
        )  # its forward warns and prints
        setup = prepare(compose(**settings_of(root, **changes), rewind="to_init", trials=1))
    trainer = Trainer(
        setup.data, setup.dataset, setup.recipe, 0, (), Store(root / "store"), setup.options,
        Listener(),
    )  # fmt: skip
    line = setup.parts.lines[0]
    place = MemberId(*line, WINNER, 0, 0)
    return trainer.jobs({place: dense(setup.parts, line)})[place], setup.id


def name_of(edit):
    return f"{edit[0]}: {edit[1].strip()[:24]}"


def test_there_are_as_many_edits_as_were_promised():
    assert len(CHANGES) + len(SAME) >= 100
    assert len(set(CHANGES)) == len(CHANGES) and len(set(SAME)) == len(SAME)


UNEDITED = []


@pytest.fixture
def unedited(project):
    """Return the key and the study's id of the project as it is; found once per process."""
    if not UNEDITED:
        job, study = project()
        UNEDITED.extend([job.key, study])
    return UNEDITED


@pytest.mark.parametrize("edit", CHANGES, ids=name_of)
def test_an_edit_that_changes_results_changes_the_key(project, unedited, edit):
    job, study = project(edit)
    assert job.key != unedited[0]
    assert study != unedited[1]


@pytest.mark.parametrize("edit", SAME, ids=name_of)
def test_an_edit_that_changes_no_result_keeps_the_key(project, unedited, edit):
    job, study = project(edit)
    assert [job.key, study] == unedited


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"recipe": {"curves": ["test"]}}, True),
        ({"trainer": {"workers": 0}}, True),
        ({"trainer": {"chunk": 3}}, True),
        ({"trainer": {"precision": "bf16"}}, False),
        ({"recipe": {"steps": 6}}, False),
        ({"recipe": {"batch": 5}}, False),
        ({"recipe": {"eval_every": 1}}, False),
        ({"recipe": {"lr": 0.2}}, False),
        ({"recipe": {"optimizer": {"_target_": "train.Slow", "momentum": 0.8}}}, False),
        ({"seed": 1}, False),
        ({"model": {"_target_": "net.Net", "kind": "relu"}}, False),
        ({"data": {"_target_": "data.make", "validation": 9}}, False),
        ({"prune": {"output_rate": 0.0}}, True),  # a full mask, fewer names
    ],
    ids=str,
)
def test_settings_count_where_they_can_change_a_result(project, unedited, change, same):
    assert (project(**change)[0].key == unedited[0]) is same


def test_another_place_on_disk_is_the_same_member(project):
    assert len({project()[0].key for _ in range(3)}) == 1  # three folders, at three depths


def test_a_file_edited_after_its_import_stops_the_work(project, tmp_path):
    job, _ = project()
    module = sys.modules["helpers"]
    path = Path(module.__file__)
    path.write_text("# a word more\n" + path.read_text())
    again, _ = job_of(tmp_path)  # only a comment: what runs is what is written
    assert again.key == job.key
    path.write_text(path.read_text().replace("FACTOR * by", "FACTOR - by"))
    with pytest.raises(LthError, match=r"helpers\.py: it was edited after it was imported: scale"):
        job_of(tmp_path)


def test_what_is_changed_in_memory_counts(project, tmp_path):
    job, _ = project()
    sys.modules["helpers"].FACTOR = 7.0
    assert job_of(tmp_path)[0].key != job.key
    sys.modules["helpers"].FACTOR = 1.0
    assert job_of(tmp_path)[0].key == job.key
    sys.modules["net"].Net.slope = 0.25
    assert job_of(tmp_path)[0].key != job.key


def test_what_a_function_remembers_while_it_runs_is_not_what_it_is(project, tmp_path):
    job, _ = project()
    sys.modules["net"].remember("more")
    assert job_of(tmp_path)[0].key == job.key


def cell(text, name="<cell>"):
    """Run a text as a notebook runs a cell: its source is in linecache alone."""
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    scope = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), scope)
    return scope


CELL = "K = 2\ndef f(x):\n    '''Say.'''\n    return x * K\n"


def test_a_notebooks_cells_are_code_like_any_other():
    first = Walk(cell(CELL, "<c1>")["f"]).digest
    assert Walk(cell(CELL.replace("Say", "Tell"), "<c2>")["f"]).digest == first
    assert Walk(cell(CELL.replace("K = 2", "K = 3"), "<c3>")["f"]).digest != first
    assert Walk(cell(CELL.replace("x * K", "x + K"), "<c4>")["f"]).digest != first


def test_code_without_a_source_is_told_by_its_instructions():
    def of(text):
        scope = {"__name__": "__main__"}
        exec(compile(text, "<nowhere>", "exec"), scope)
        return Walk(scope["f"]).digest

    assert of(CELL) == of("\n\n" + CELL)
    assert of(CELL) != of(CELL.replace("x * K", "x + K"))
    assert of(CELL) != of(CELL.replace("K = 2", "K = 3"))


def test_lambdas_on_one_line_are_told_apart():
    a, b = (lambda x: x + 1), (lambda x: x + 2)
    c, d = (lambda x: lambda y: x + y)(1), (lambda x: lambda y: x - y)(1)
    assert len({Walk(f).digest for f in (a, b, c, d)}) == 4


def test_memories_follow_a_redefinition(tmp_path, monkeypatch):
    from lth.networks.cost import uses
    from lth.networks.ticket import layers_of

    monkeypatch.syspath_prepend(str(tmp_path))
    spec, seen = {"_target_": "remade.net"}, []
    for width in (5, 8):
        (tmp_path / "remade.py").write_text(
            f"from torch import nn\nW = {width}\ndef net():\n"
            "    return nn.Sequential(nn.Flatten(), nn.Linear(4, W), nn.Linear(W, 2))\n"
        )
        sys.modules.pop("remade", None)
        importlib.invalidate_caches()
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        seen.append((layers_of(spec).total, code_key(spec), len(uses(spec, (4,)))))
    sys.modules.pop("remade", None)
    assert [s[0] for s in seen] == [30, 48]
    assert seen[0][1] != seen[1][1]


PINNED = '''
def f(x, *, y=3.0):
    """Doc."""
    q: int = x
    if x > 3:
        raise ValueError(f"bad {x!r:>{5}} and " "more")
    with open("x") as a, open("y"):
        match a:
            case [1, *rest] | (2 as rest):
                return rest
    return [g(i) for i in range(x) if (lambda k: k + 1)(i)] + [f"a{x}" "b"]
'''


def pinned_digest():
    scope = {}
    exec(compile(PINNED, "<pinned>", "exec"), scope)
    linecache.cache["<pinned>"] = (len(PINNED), None, PINNED.splitlines(True), "<pinned>")
    return read(scope["f"].__code__, scope).digest


def test_the_digest_of_a_text_is_the_same_in_every_version_of_python():
    assert pinned_digest() == "3ddad8d2b4455b334d78439db6cd6cc1"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_other_pythons_give_that_digest(version):
    """Run the module that reads code by itself, under whatever Pythons this machine has."""
    python = shutil.which(f"python{version}")
    folder = Path(__file__).parents[1] / "lth"
    script = (
        "import sys, types, linecache\n"
        f"m = types.ModuleType('lth'); m.__path__ = [{str(folder)!r}]; sys.modules['lth'] = m\n"
        f"i = types.ModuleType('lth.identity'); i.__path__ = [{str(folder / 'identity')!r}]\n"
        "sys.modules['lth.identity'] = i\n"
        "from lth.identity.source import read\n"
        f"P = {PINNED!r}\n"
        "linecache.cache['<pinned>'] = (len(P), None, P.splitlines(True), '<pinned>')\n"
        "s = {}; exec(compile(P, '<pinned>', 'exec'), s)\n"
        "print(read(s['f'].__code__, s).digest)\n"
    )
    found = subprocess.run(
        [python or "", "-c", script], capture_output=True, text=True, check=False
    )
    if python is None or "not found" in found.stderr:
        pytest.skip(f"no Python {version} here")
    assert found.stdout.strip() == pinned_digest(), found.stderr


def test_a_library_is_known_by_its_name():
    assert described({"_target_": "torch.optim.Adam", "eps": 1e-3}) == {
        "code": Walk(torch.optim.Adam).digest, "with": {"eps": 1e-3},
    }  # fmt: skip
    assert Walk(torch.optim.Adam).digest != Walk(torch.optim.AdamW).digest
    assert Walk(torch.optim.Adam).pieces == {}


def test_a_package_installed_into_a_folder_of_its_own_is_a_library(tmp_path, monkeypatch):
    """``pip install --target``, and PYTHONPATH; the user's modules beside it are not."""
    (tmp_path / "brought_in").mkdir()
    (tmp_path / "brought_in" / "__init__.py").write_text("from .inner import f\n")
    (tmp_path / "brought_in" / "inner.py").write_text("def f(x):\n    return x\n")
    (tmp_path / "mine_beside.py").write_text(
        "from brought_in import f\ndef g(x):\n    return f(x)\n"
    )
    info = tmp_path / "brought_in-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brought-in\nVersion: 1.0\n")
    (info / "RECORD").write_text("brought_in/__init__.py,,\nbrought_in/inner.py,,\n")
    (tmp_path / "brought_in" / "mine.py").write_text("def h(x):\n    return x\n")
    own = tmp_path / "mine_beside.egg-info"  # of a source tree: what it names is the user's
    own.mkdir()
    (own / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: mine-beside\nVersion: 1.0\n")
    (own / "SOURCES.txt").write_text("mine_beside.py\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = importlib.import_module("mine_beside")
    assert origin.is_library("brought_in") and origin.is_library("brought_in.inner")
    assert not origin.is_library("mine_beside")
    importlib.import_module("brought_in.mine")
    assert not origin.is_library("brought_in.mine")  # nobody installed it
    assert set(Walk(mine.g).pieces) == {"mine_beside.g"}


def test_a_context_variable_is_told_by_its_name_and_its_value():
    text = "from contextvars import ContextVar\nV = ContextVar('v', default={})\n"
    text += "def f(x):\n    return x * V.get()\n"
    two, three = (cell(text.format(value), f"<{value}>") for value in (2, 3))
    again = cell(text.format(2), "<again>")
    assert Walk(two["f"]).digest == Walk(again["f"]).digest != Walk(three["f"]).digest
    again["V"].set(3)
    assert Walk(again["f"]).digest == Walk(three["f"]).digest
    bare = cell(text.replace(", default={}", ""), "<bare>")["f"]
    assert Walk(bare).digest != Walk(two["f"]).digest


def test_numpys_generators_count_by_their_state():
    """Their classes, written in C, do not say by a text which module they are of."""
    digests = []
    for seed in (1, 1, 2):
        scope = cell(f"import numpy as np\nG = np.random.default_rng({seed})\n"
                     "def f(x):\n    return x * G.normal()\n", f"<{seed}>")  # fmt: skip
        digests.append(Walk(scope["f"]).digest)
    assert digests[0] == digests[1] != digests[2]


def test_what_only_some_pythons_have_in_their_own_parts_does_not_count():
    """A lock in 3.11's ``cached_property``, and where what is written in C says that it is from."""
    locked, free = functools.cached_property(len), functools.cached_property(len)
    vars(locked)["lock"] = threading.RLock()
    vars(free).pop("lock", None)
    assert Walk(locked).digest == Walk(free).digest
    assert Walk(free).digest != Walk(functools.cached_property(sum)).digest
    pair = namedtuple("Pair", "a b")
    fields = [vars(pair)[n] for n in "ab"]
    assert Walk(fields[0]).digest != Walk(fields[1]).digest

    class Mine(functools.cached_property):
        pass

    own = [Mine(len), Mine(len)]
    for n, made in enumerate(own):
        vars(made)["lock"] = n
    assert Walk(own[0]).digest != Walk(own[1]).digest


KEYS = """
import json
from hashlib import sha256
from lth import config
from lth.identity import Walk, described, structure
from lth.lightning.runner import numerics as task_numerics
from lth.networks.ticket import draw_model
from lth.spec.build import fill
from lth.train.key import numerics
shape = {"input_shape": [3, 32, 32], "classes": 10}
found = {"numerics": numerics().key, "task": task_numerics().key}
for group in GROUPS:
    for name in config.choices(group):
        value = config.load(group, name)
        said = json.dumps(described(value), sort_keys=True)
        found[f"{group}/{name}"] = sha256(said.encode()).hexdigest()
        if group == "model":
            found[f"made/{name}"] = Walk(structure(draw_model(fill(value, **shape), 0))).digest
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("python", os.environ.get("LTH_PYTHONS", "").split())
def test_other_pythons_and_torches_give_the_same_keys(python):
    """Environments that have lth's libraries: ``LTH_PYTHONS='/a/bin/python /b/bin/python'``."""
    groups = [
        "model", "recipe/optimizer", "recipe/schedule", "recipe/loss", "score", "prune", "rewind",
        "search", "arms", "method", "data",
    ]  # fmt: skip
    root = str(Path(__file__).parents[1])
    found = [
        subprocess.run(
            [program, "-c", f"GROUPS = {groups}\n{KEYS}"], capture_output=True, text=True,
            check=True, env=os.environ | {"PYTHONPATH": root}, timeout=300,
        ).stdout
        for program in (sys.executable, python)
    ]  # fmt: skip
    assert found[0] == found[1]

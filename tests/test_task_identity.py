"""What a task's data and module read when they are set up is a part of its members' identity."""

import json

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, SubsetRandomSampler

from lth import LthError
from lth.train.key import numerics
from tests import tasks
from tests.test_task import key, run


class FromPath(tasks.Points):
    def __init__(self, path: str = ""):
        super().__init__()
        self.path = path

    def read(self):
        with open(self.path) as file:
            return json.load(file)


class Sampled(FromPath):
    def train_dataloader(self):
        return DataLoader(self.parts[0], 8, sampler=SubsetRandomSampler(self.read()))


class Batched(FromPath):
    def train_dataloader(self):
        return DataLoader(self.parts[0], batch_sampler=BatchSampler(self.read(), 8, False))


class Scaled(FromPath):
    def setup(self, stage):
        super().setup(stage)
        self.scale = self.read()[1]

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch[0] * self.scale, batch[1]


class Weighing(tasks.Line):
    """Whose loss is weighed by what its ``setup`` reads; a buffer may hold it."""

    def __init__(self, path: str = "", buffer: bool = False):
        super().__init__()
        self.path, self.buffer = path, buffer
        self.held: torch.Tensor
        self.register_buffer("held", torch.zeros(()))

    def setup(self, stage):
        with open(self.path) as file:
            weight = json.load(file)[1]
        if self.buffer:
            self.held = torch.tensor(weight)
        else:
            self.weight = weight


class Redrawing(tasks.Line):
    def on_fit_start(self):
        torch.nn.init.normal_(self.get_parameter("net.0.weight"))


def of_data(path, data):
    return {"task": {"module": tasks.Line, "data": {"_target_": data, "path": str(path)}}}


def of_module(path, buffer):
    module = {"_target_": Weighing, "path": str(path), "buffer": buffer}
    return {"task": {"module": module, "data": tasks.Points}}


@pytest.mark.parametrize("data", [Sampled, Batched, Scaled])
def test_what_data_reads_when_it_is_set_up_counts(tmp_path, data):
    keys = [_key_with(tmp_path, rows, of_data(tmp_path / "rows.json", data))
            for rows in (range(16), range(16), range(8, 24))]  # fmt: skip
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("buffer", [False, True])
def test_what_a_module_reads_when_it_is_set_up_counts(tmp_path, buffer):
    keys = [_key_with(tmp_path, rows, of_module(tmp_path / "rows.json", buffer))
            for rows in ([0, 2], [0, 2], [0, 3])]  # fmt: skip
    assert keys[0] == keys[1] != keys[2]


def test_weights_drawn_as_a_fit_begins_are_refused(tmp_path):
    with pytest.raises(LthError, match=r"net\.0\.weight is changed when a fit begins.*__init__"):
        run(tmp_path, Redrawing)
    assert not (tmp_path / "store" / "members").exists()


def _key_with(root, rows, changes):
    root.mkdir(exist_ok=True)
    (root / "rows.json").write_text(json.dumps(list(rows)))
    return key(root, **changes)


def test_a_task_leaves_the_code_of_lth_as_it_was(tmp_path):
    """What a process has done before is in no key: workers, and the next run, have done other."""
    before = numerics().key
    run(tmp_path, levels=0)
    assert numerics().key == before

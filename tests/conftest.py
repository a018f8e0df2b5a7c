"""What every test shares: one intra-op thread, and a data set that trains in a blink."""

import signal
from pathlib import Path

import hypothesis
import pytest
import torch

from lth.data import Dataset, tensors

hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")  # a suite says the same twice

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _signals_as_before():
    """The command takes signals over; a test that runs it inside gives them back."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if handler is not None:
            signal.signal(number, handler)


def blobs(validation: int = 40, root: str | None = None) -> Dataset:
    """Four noisy 1x4x4 pictures: 200 to train on, 60 to test on."""
    generator = torch.Generator().manual_seed(7)
    centres = torch.randint(60, 190, (4, 1, 4, 4), generator=generator)

    def draw(count: int):
        targets = torch.arange(count) % 4
        noise = torch.randint(-60, 60, (count, 1, 4, 4), generator=generator)
        return (centres[targets] + noise).to(torch.uint8), targets

    return tensors("blobs", draw(200), draw(60), validation)

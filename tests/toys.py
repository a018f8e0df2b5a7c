"""Models and factories that the tests name by ``_target_``."""

from collections.abc import Sequence

from torch import Tensor, nn

from tests.conftest import blobs

__all__ = ["Plain", "blobs", "dropout_net", "mlp", "norm_net"]


def mlp(input_shape: Sequence[int], classes: int, width: int = 12) -> nn.Module:
    size = 1
    for length in input_shape:
        size *= length
    return nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.ReLU(), nn.Linear(width, classes))


def norm_net(input_shape: Sequence[int], classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, classes),
    )  # fmt: skip


def dropout_net(input_shape: Sequence[int], classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, classes)
    )


class Plain(nn.Module):
    """A plain module with a tied weight and one that is used twice."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.again = nn.Linear(16, 16)
        self.again.weight = self.first.weight
        self.output = nn.Linear(16, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs.flatten(1)).relu()
        return self.output(self.again(hidden).relu())

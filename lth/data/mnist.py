"""MNIST and Fashion-MNIST: 60,000 + 10,000 grey images of 28x28 in ten classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lth.data.dataset import Dataset, tensors
from lth.data.fetch import MemberId, cached, download, local
from lth.data.idx import read_idx
from lth.errors import LthError


@dataclass(frozen=True)
class Source:
    """A data set in MNIST's format: the hashes of its four packed files, and where they lie."""

    name: str
    hashes: Mapping[str, str]
    mirrors: tuple[str, ...]
    rows: Mapping[str, int]


ROWS = {"train": 60_000, "t10k": 10_000}

MNIST = Source(
    "mnist",
    {
        "train-images-idx3-ubyte": (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
        ),
        "train-labels-idx1-ubyte": (
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
        ),
        "t10k-images-idx3-ubyte": (
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        "t10k-labels-idx1-ubyte": (
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
        ),
    },
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    ROWS,
)

FASHION_MNIST = Source(
    "fashion_mnist",
    {
        "train-images-idx3-ubyte": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "md5:25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "md5:bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "md5:bb300cfdad3c16e7a12a480ee83cd310",
    },
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    ROWS,
)


def mnist(root: str | None = None, validation: int = 5000) -> Dataset:
    """Load MNIST from ``root``/mnist, or download it (LeCun et al. 1998).

    The split of Frankle & Carbin 2019 (arXiv 1803.03635, Section 2): 5,000 of the training images
    are held out for validation.
    """
    return load(MNIST, root, validation)


def fashion_mnist(root: str | None = None, validation: int = 5000) -> Dataset:
    """Load Fashion-MNIST from ``root``/fashion_mnist, or download it (Xiao et al. 2017)."""
    return load(FASHION_MNIST, root, validation)


def load(source: Source, root: str | None, validation: int) -> Dataset:
    """Read the four files of ``source`` and check that they are what they should be."""
    place = _downloaded(source) if root is None else local(root, source.name)
    train, test = (_read(source, place, part) for part in ("train", "t10k"))
    return tensors(source.name, train, test, validation, note=place.note, classes=10)


def _downloaded(source: Source) -> MemberId:
    paths = [
        download(f"{name}.gz", known, source.mirrors, folder=source.name)
        for name, known in source.hashes.items()
    ]
    return cached(paths[0].parent)


def _read(source: Source, place: MemberId, part: str) -> tuple[Tensor, Tensor]:
    rows = source.rows[part]
    images = read_idx(place, f"{part}-images-idx3-ubyte", (rows, 28, 28))
    labels = read_idx(place, f"{part}-labels-idx1-ubyte", (rows,))
    if int(labels.max()) > 9:
        path = place.folder / f"{part}-labels-idx1-ubyte"
        raise LthError(f"{path}: label {int(labels.max())}, not 0..9; {place.mend}")
    return images.unsqueeze(1), labels.long()

"""Data sets as tensors: one factory each."""

from lth.data.altered import random_labels, subset
from lth.data.augment import flip_and_crop
from lth.data.cifar10 import cifar10
from lth.data.dataset import Dataset, split, tensors
from lth.data.digits import digits
from lth.data.mnist import fashion_mnist, mnist
from lth.data.own import from_dataset

__all__ = [
    "Dataset",
    "cifar10",
    "digits",
    "fashion_mnist",
    "flip_and_crop",
    "from_dataset",
    "mnist",
    "random_labels",
    "split",
    "subset",
    "tensors",
]

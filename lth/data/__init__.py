"""Data sets as tensors: one factory each, and one's own.

``data=`` names a factory: one of this room by the name of its YAML (``data=cifar100``), or a
function of one's own (``data._target_=mine.cats``, ``lth.run(data=mine.cats)``). A function gives

* a `Dataset`, as `tensors` (arrays) and `from_dataset` (torch data sets) make it;
* ``(train, test)``: pairs of arrays ``(inputs, classes)``, or torch data sets of such items;
* ``(x_train, y_train, x_test, y_test)``, or scikit-learn's ``(x_train, x_test, y_train, y_test)``;
* a mapping: ``train``, ``test``, perhaps ``validation``; or arrays ``x_train``, ``y_train``, ...

Files need no function: ``data=npz data.path=mine.npz`` (`npz`) and ``data=folder
data.path=pictures`` (`image_folder`); where they lie is not part of what a study is, what they hold
is. Inputs are uint8 (pixels, which stay bytes in memory), floats, or int32 and int64 (tokens, which
pass as they are), one row per example; targets are classes from 0. A tenth of training is held out
for validation, drawn anew in every trial, unless ``validation`` says how many, or is a split of
one's own, which is then the same in every trial. docs/data.md shows all of it.
"""

from lth.data.altered import random_labels, subset
from lth.data.augment import flip_and_crop
from lth.data.cifar10 import cifar10
from lth.data.cifar100 import cifar100
from lth.data.dataset import Dataset, split, tensors
from lth.data.digits import digits
from lth.data.folder import image_folder
from lth.data.mnist import fashion_mnist, mnist
from lth.data.npz import npz
from lth.data.own import from_dataset
from lth.data.partly import partly_labelled, without

__all__ = [
    "Dataset",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_mnist",
    "flip_and_crop",
    "from_dataset",
    "image_folder",
    "mnist",
    "npz",
    "partly_labelled",
    "random_labels",
    "split",
    "subset",
    "tensors",
    "without",
]

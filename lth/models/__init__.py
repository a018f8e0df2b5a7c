"""Networks: one factory each, plain modules that know nothing of lotteries."""

from lth.models.all_conv import all_conv
from lth.models.conv import conv
from lth.models.gated import gated_resnet
from lth.models.lazy import materialised
from lth.models.lenet import lenet, lenet5
from lth.models.msdnet import msdnet
from lth.models.resnet import resnet
from lth.models.vgg import vgg

__all__ = [
    "all_conv", "conv", "gated_resnet", "lenet", "lenet5", "materialised", "msdnet", "resnet",
    "vgg",
]  # fmt: skip

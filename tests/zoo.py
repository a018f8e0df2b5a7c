"""A zoo: one small network per construct of public model code, all for blobs of 1x4x4 pictures.

``Name: (why it is here, options)`` in ``ZOO``; what a network is said to do is checked by
tests/test_zoo.py. Each takes ``classes`` and reads ``[B, 1, 4, 4]``; sequences are the four rows,
tokens the sixteen pixels in eight grades.
"""

from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize


def conv(a, b, k=3, **more):
    return nn.Conv2d(
        a, b, k, padding=k // 2 if "padding" not in more else more.pop("padding"), **more
    )


def rows(x: Tensor) -> Tensor:
    return x.squeeze(1)


def tokens(x: Tensor) -> Tensor:
    return (x.flatten(1) * 2 + 4).clamp(0, 7).long()


class Head(nn.Module):
    """Pool a map, then classify."""

    def __init__(self, width, classes):
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        return self.fc(x.flatten(2).mean(2))


class Residual(nn.Module):
    def __init__(self, classes=4, width=4):
        super().__init__()
        self.stem, self.norm0 = conv(1, width, bias=False), nn.BatchNorm2d(width)
        self.a, self.norm1 = conv(width, width, bias=False), nn.BatchNorm2d(width)
        self.b, self.norm2 = conv(width, width, bias=False), nn.BatchNorm2d(width)
        self.head = Head(width, classes)

    def forward(self, x):
        x = F.relu(self.norm0(self.stem(x)))
        return self.head(F.relu(x + self.norm2(self.b(F.relu(self.norm1(self.a(x)))))))


class PreActivation(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.stem, self.norm, self.a = conv(1, 4), nn.BatchNorm2d(4), conv(4, 6, stride=2)
        self.shortcut, self.head = conv(4, 6, 1, stride=2), Head(6, classes)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm(x).relu()
        return self.head(self.a(y) + self.shortcut(y))


class Dense(nn.Module):
    """DenseNet: everything before is concatenated."""

    def __init__(self, classes=4):
        super().__init__()
        self.layers = nn.ModuleList(conv(1 + 3 * i, 3) for i in range(3))
        self.head = Head(10, classes)

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x).relu()], 1)
        return self.head(x)


class SqueezeExcite(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.conv, self.down, self.up = conv(1, 8), conv(8, 2, 1), conv(2, 8, 1)
        self.head = Head(8, classes)

    def forward(self, x):
        x = self.conv(x).relu()
        gate = self.up(self.down(F.adaptive_avg_pool2d(x, 1)).relu()).sigmoid()
        return self.head(x * gate)


class Depthwise(nn.Sequential):
    """MobileNet: depthwise, then pointwise."""

    def __init__(self, classes=4):
        super().__init__(
            conv(1, 6), nn.BatchNorm2d(6), nn.ReLU6(), conv(6, 6, groups=6, bias=False),
            nn.BatchNorm2d(6), nn.Hardswish(), conv(6, 8, 1), Head(8, classes),
        )  # fmt: skip


class Grouped(nn.Sequential):
    """ShuffleNet: grouped, with the channels shuffled."""

    def __init__(self, classes=4):
        super().__init__(
            conv(1, 8), nn.ReLU(), conv(8, 8, 1, groups=4), nn.ChannelShuffle(4),
            conv(8, 8, groups=2), nn.ReLU(), Head(8, classes),
        )  # fmt: skip


class Dilated(nn.Sequential):
    def __init__(self, classes=4):
        super().__init__(
            conv(1, 4, dilation=2, padding="same", padding_mode="zeros"), nn.LeakyReLU(0.1),
            conv(4, 4, padding=1, padding_mode="reflect"), nn.ELU(), Head(4, classes),
        )  # fmt: skip


class Transposed(nn.Sequential):
    def __init__(self, classes=4):
        super().__init__(
            nn.ConvTranspose2d(1, 3, 2, stride=2), nn.ReLU(), nn.Upsample(scale_factor=2),
            nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, classes),
        )  # fmt: skip


class OneD(nn.Module):
    """Temporal convolutions over a sequence, causal."""

    def __init__(self, classes=4):
        super().__init__()
        self.a, self.b, self.head = nn.Conv1d(4, 6, 2), nn.Conv1d(6, 6, 2), nn.Linear(6, classes)

    def forward(self, x):
        x = self.a(F.pad(rows(x), (1, 0))).relu()
        return self.head(self.b(F.pad(x, (1, 0))).relu().amax(2))


class ThreeD(nn.Sequential):
    def __init__(self, classes=4):
        super().__init__(
            nn.Unflatten(3, (2, 2)), nn.Conv3d(1, 4, (3, 1, 1), padding=(1, 0, 0)), nn.ReLU(),
            nn.MaxPool3d(2), nn.Flatten(), nn.Linear(8, classes),
        )  # fmt: skip


class UNet(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.down, self.bottom, self.up = conv(1, 4), conv(4, 8), nn.ConvTranspose2d(8, 4, 2, 2)
        self.join, self.out = conv(8, 4), conv(4, classes, 1)

    def forward(self, x):
        first = self.down(x).relu()
        low = self.bottom(F.max_pool2d(first, 2)).relu()
        joined = self.join(torch.cat([first, self.up(low)], 1)).relu()
        return self.out(joined).mean((2, 3))


class PixelShuffle(nn.Sequential):
    def __init__(self, classes=4):
        super().__init__(
            conv(1, 8), nn.PixelShuffle(2), nn.PReLU(), conv(2, 4, stride=2), nn.PixelUnshuffle(2),
            nn.Flatten(), nn.Linear(64, classes),
        )  # fmt: skip


class Inception(nn.Module):
    """Branches side by side in a ModuleDict."""

    def __init__(self, classes=4):
        super().__init__()
        sizes = {"one": conv(1, 3, 1), "three": conv(1, 3), "pool": nn.MaxPool2d(3, 1, 1)}
        self.branches, self.head = nn.ModuleDict(sizes), Head(7, classes)

    def forward(self, x):
        return self.head(torch.cat([b(x) for b in self.branches.values()], 1).relu())


class Patches(nn.Module):
    """ViT: patches, a class token, positions, attention by scaled_dot_product_attention."""

    def __init__(self, classes=4, width=8):
        super().__init__()
        self.patch = nn.Conv2d(1, width, 2, stride=2)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 5, width) * 0.02)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, width)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return self.head((x + self.mlp(self.norm2(x)))[:, 0])


class Mixer(nn.Module):
    """MLP-Mixer: over the patches, then over the channels."""

    def __init__(self, classes=4):
        super().__init__()
        self.stem, self.over, self.across = nn.Linear(4, 6), nn.Linear(4, 4), nn.Linear(6, 6)
        self.norm, self.head = nn.RMSNorm(6), nn.Linear(6, classes)

    def forward(self, x):
        x = self.stem(rows(x))
        x = x + self.over(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.across(self.norm(x)).relu()).mean(1))


class Recurrent(nn.Module):
    """A recurrent classifier: LSTM, GRU or RNN, in one direction or both, stacked, projected."""

    def __init__(self, classes=4, kind="LSTM", directions=1, batch_first=True, **more):
        super().__init__()
        self.batch_first = batch_first
        self.rnn = getattr(nn, kind)(
            4, 6, batch_first=batch_first, bidirectional=directions == 2, **more
        )
        self.head = nn.Linear((more.get("proj_size") or 6) * directions, classes)

    def forward(self, x):
        x = rows(x) if self.batch_first else rows(x).transpose(0, 1)
        found = self.rnn(x)[0]
        return self.head(found[:, -1] if self.batch_first else found[-1])


class Cells(nn.Module):
    """An unrolled loop of cells with a state of its own."""

    def __init__(self, classes=4):
        super().__init__()
        self.first, self.second = nn.LSTMCell(4, 5), nn.GRUCell(5, 5)
        self.head = nn.Linear(5, classes)

    def forward(self, x):
        state, hidden = None, None
        for step in rows(x).unbind(1):
            state = self.first(step, state)
            hidden = self.second(state[0], hidden)
        return self.head(hidden)


class Packed(nn.Module):
    """Sequences of unequal length."""

    def __init__(self, classes=4):
        super().__init__()
        self.rnn, self.head = nn.GRU(4, 5, batch_first=True), nn.Linear(5, classes)

    def forward(self, x):
        lengths = torch.arange(len(x)) % 3 + 2
        packed = nn.utils.rnn.pack_padded_sequence(
            rows(x), lengths, batch_first=True, enforce_sorted=False
        )
        return self.head(self.rnn(packed)[1][0])


class Text(nn.Module):
    """Fast text: an embedding, convolutions over it."""

    def __init__(self, classes=4):
        super().__init__()
        self.embedding = nn.Embedding(8, 5, padding_idx=0)
        self.conv, self.head = nn.Conv1d(5, 6, 3), nn.Linear(6, classes)

    def forward(self, x):
        return self.head(self.conv(self.embedding(tokens(x)).transpose(1, 2)).relu().amax(2))


class Bag(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(8, 6, mode="mean"), nn.Linear(6, classes)

    def forward(self, x):
        return self.head(self.bag(tokens(x)))


class Tied(nn.Module):
    """A language model: the output layer's weight is the embedding's."""

    def __init__(self, classes=4):
        super().__init__()
        self.embedding, self.mix = nn.Embedding(8, 6), nn.Linear(6, 6)
        self.out = nn.Linear(6, 8, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x):
        return self.out(self.mix(self.embedding(tokens(x)).mean(1)).tanh())


class Autoencoder(nn.Module):
    """Its decoder is the encoder's weight turned round; a classifier reads the code."""

    def __init__(self, classes=4):
        super().__init__()
        self.encode, self.head = nn.Linear(16, 6), nn.Linear(22, classes)
        self.bias = nn.Parameter(torch.zeros(16))

    def forward(self, x):
        code = self.encode(x.flatten(1)).relu()
        again = F.linear(code, self.encode.weight.t(), self.bias)
        return self.head(torch.cat([code, again], 1))


class Shared(nn.Module):
    """One module, three times; and one weight under two names."""

    def __init__(self, classes=4):
        super().__init__()
        self.block, self.again = nn.Linear(16, 16), nn.Linear(16, 16)
        self.again.weight, self.alias = self.block.weight, self.block
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        x = x.flatten(1)
        for layer in (self.block, self.again, self.alias):
            x = layer(x).relu()
        return self.head(x)


class InPlace(nn.Sequential):
    def __init__(self, classes=4):
        super().__init__(
            nn.Flatten(), nn.Linear(16, 8), nn.ReLU(inplace=True), nn.Linear(8, 8),
            nn.Hardtanh(inplace=True), nn.Linear(8, 8), nn.Dropout(0.2, inplace=True),
            nn.Linear(8, classes),
        )  # fmt: skip


class Lazy(nn.Sequential):
    def __init__(self, classes=4):
        super().__init__(
            nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(),
            nn.LazyLinear(classes),
        )  # fmt: skip


class Keywords(nn.Module):
    """A forward pass with defaults, options and keywords."""

    def __init__(self, classes=4, *, widths=(8, 6), act="gelu", **rest):
        super().__init__()
        sizes = [16, *widths, classes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.act = getattr(F, act)

    def forward(self, x, mask=None, *, depth: int | None = None, return_all: bool = False):
        x = x.flatten(1)
        for layer in self.layers[: depth or len(self.layers)]:
            x = layer(self.act(x))
        return (x, mask) if return_all else x


class Parameters(nn.Module):
    """Raw parameters, in a list and a dict, multiplied by hand; the last is the head."""

    def __init__(self, classes=4):
        super().__init__()
        self.many = nn.ParameterList([nn.Parameter(torch.randn(16, 8) / 4)])
        self.named = nn.ParameterDict({"b": torch.randn(8) / 4, "w": torch.randn(8, 8) / 3})
        self.middle, self.last = nn.Linear(8, 8), nn.Parameter(torch.randn(8, classes) / 3)

    def forward(self, x):
        x = (x.flatten(1) @ self.many[0] + self.named["b"]).relu()
        x = torch.einsum("bi,io->bo", self.middle(x), self.named["w"]).relu()
        return x @ self.last


class Experts(nn.Module):
    """A mixture of experts: each example goes through one, so some have no gradient in a step."""

    def __init__(self, classes=4):
        super().__init__()
        self.gate, self.head = nn.Linear(16, 4), nn.Linear(8, classes)
        self.experts = nn.ModuleList(nn.Linear(16, 8) for _ in range(4))

    def forward(self, x):
        x = x.flatten(1)
        score, chosen = self.gate(x).softmax(1).max(1)
        out = x.new_zeros(len(x), 8)
        for i, expert in enumerate(self.experts):
            at = (chosen == i).nonzero().squeeze(1)
            if len(at):
                out = out.index_add(0, at, expert(x[at]).relu() * score[at, None])
        return self.head(out)


class Batched(nn.Module):
    """Experts side by side in one raw parameter, all used."""

    def __init__(self, classes=4):
        super().__init__()
        self.experts = nn.Parameter(torch.randn(3, 16, 5) / 4)
        self.gate, self.head = nn.Linear(16, 3), nn.Linear(5, classes)

    def forward(self, x):
        x = x.flatten(1)
        found = torch.einsum("bi,eio->beo", x, self.experts).relu()
        return self.head((found * self.gate(x).softmax(1).unsqueeze(2)).sum(1))


class Stochastic(nn.Module):
    """Stochastic depth, drawn by torch."""

    def __init__(self, classes=4):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(8, classes)

    def forward(self, x):
        x = self.a(x.flatten(1)).relu()
        if not self.training or self.keeps():
            x = x + self.b(x).relu()
        return self.head(x)

    def keeps(self):
        return bool(torch.rand(()) < 0.5)


class NumpyDepth(Stochastic):
    """The same, drawn by numpy."""

    def keeps(self):
        return np.random.rand() < 0.5


class Unused(nn.Module):
    """A layer that no forward pass uses, and a head that is defined first."""

    def __init__(self, classes=4):
        super().__init__()
        self.head, self.body, self.unused = nn.Linear(8, classes), nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu())


class WeightNormed(nn.Module):
    def __init__(self, classes=4, old=False):
        super().__init__()
        norm = partial(_old, nn.utils.weight_norm) if old else parametrizations.weight_norm
        self.conv, self.head = norm(conv(1, 4)), norm(nn.Linear(64, classes))

    def forward(self, x):
        return self.head(self.conv(x).relu().flatten(1))


def _old(norm, module):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it is old
        return norm(module)


class SpectralNormed(nn.Module):
    def __init__(self, classes=4, old=False):
        super().__init__()
        norm = partial(_old, nn.utils.spectral_norm) if old else parametrizations.spectral_norm
        self.body, self.head = norm(nn.Linear(16, 8)), nn.Linear(8, classes)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu())


class Scaled(nn.Module):
    """A parametrization of one's own."""

    def forward(self, weight):
        return weight * weight.shape[1] ** -0.5


class Parametrized(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.body, self.head = nn.Linear(16, 8), nn.Linear(8, classes)
        parametrize.register_parametrization(self.body, "weight", Scaled())

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu())


class Standardized(nn.Conv2d):
    """Weight standardization, done in the forward pass."""

    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, padding=1)


class Bilinear(nn.Module):
    """Two branches of one picture, joined by a bilinear form."""

    def __init__(self, classes=4):
        super().__init__()
        self.left, self.right = nn.Linear(8, 4), nn.Linear(8, 4)
        self.join = nn.Bilinear(4, 4, classes)

    def forward(self, x):
        left, right = x.flatten(1).chunk(2, 1)
        return self.join(self.left(left).relu(), self.right(right).relu())


class Siamese(nn.Module):
    """One tower for both halves of a picture."""

    def __init__(self, classes=4):
        super().__init__()
        self.tower, self.head = nn.Sequential(nn.Linear(8, 6), nn.ReLU()), nn.Linear(12, classes)

    def forward(self, x):
        a, b = (self.tower(half) for half in x.flatten(1).chunk(2, 1))
        return self.head(torch.cat([(a - b).abs(), a * b], 1))


class Highway(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.plain, self.gate, self.head = (
            nn.Linear(16, 16),
            nn.Linear(16, 16),
            nn.Linear(16, classes),
        )

    def forward(self, x):
        x = x.flatten(1)
        gate = self.gate(x).sigmoid()
        return self.head(gate * self.plain(x).relu() + (1 - gate) * x)


class Maxout(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.body, self.head = nn.Linear(16, 12), nn.Linear(4, classes)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).unflatten(1, (4, 3)).amax(2))


class Buffers(nn.Module):
    """Buffers of all kinds: not persistent, assigned anew in the forward pass, whole, none."""

    def __init__(self, classes=4):
        super().__init__()
        self.register_buffer("features", torch.randn(16, 16) / 4, persistent=False)
        self.register_buffer("average", torch.zeros(8))
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("nothing", None)
        self.body, self.head = nn.Linear(16, 8), nn.Linear(8, classes)

    def forward(self, x):
        x = self.body(x.flatten(1) @ self.features)
        if self.training:
            self.average = 0.9 * self.average + 0.1 * x.detach().mean(0)
            self.count += 1
        return self.head((x - self.average).relu())


class Frozen(nn.Module):
    """A backbone that does not train."""

    def __init__(self, classes=4):
        super().__init__()
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU())
        self.backbone.requires_grad_(False)
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        with torch.no_grad():
            x = self.backbone(x)
        return self.head(x)


class Attention(nn.Module):
    """nn.MultiheadAttention, packed or with keys of another width."""

    def __init__(self, classes=4, keys=None, dropout=0.0):
        super().__init__()
        self.stem = nn.Linear(4, 8)
        self.attend = nn.MultiheadAttention(
            8, 2, batch_first=True, kdim=keys, vdim=keys, dropout=dropout
        )
        self.head, self.keys = nn.Linear(8, classes), keys

    def forward(self, x):
        x = rows(x)
        q = self.stem(x)
        found, _ = self.attend(q, *((x, x) if self.keys else (q, q)), need_weights=False)
        return self.head((q + found).mean(1))


class OwnAttention(nn.Module):
    """Attention with q, k and v of its own, by hand, its mask a buffer."""

    def __init__(self, classes=4):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4, bias=False) for _ in range(3))
        self.head = nn.Linear(4, classes)
        self.register_buffer("causal", torch.ones(4, 4).tril().bool(), persistent=False)

    def forward(self, x):
        x = rows(x)
        scores = self.q(x) @ self.k(x).transpose(1, 2) / 2
        return self.head((scores.masked_fill(~self.causal, -1e9).softmax(2) @ self.v(x)).mean(1))


class Encoder(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.stem = nn.Linear(4, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dropout=0.1, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        return self.head(self.encoder(self.stem(rows(x))).mean(1))


class Queries(nn.Module):
    """Learned queries that look at the input (Perceiver, DETR)."""

    def __init__(self, classes=4):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(3, 8))
        self.stem, self.look = nn.Linear(4, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        x = self.stem(rows(x))
        return self.head(self.look(self.queries.expand(len(x), -1, -1), x, x)[0].mean(1))


class Norms(nn.Sequential):
    """Every norm: layer, group, instance, local response; PReLU by channel."""

    def __init__(self, classes=4):
        super().__init__(
            conv(1, 4), nn.GroupNorm(2, 4), nn.PReLU(4), conv(4, 4),
            nn.InstanceNorm2d(4, affine=True), nn.SiLU(), conv(4, 4), nn.LayerNorm([4, 4, 4]),
            nn.LocalResponseNorm(2), Head(4, classes),
        )  # fmt: skip


class Dropouts(nn.Sequential):
    def __init__(self, classes=4):
        super().__init__(
            conv(1, 4), nn.Dropout2d(0.3), nn.SELU(), nn.AlphaDropout(0.2), nn.Flatten(),
            nn.Linear(64, 6), nn.RReLU(), nn.FeatureAlphaDropout(0.1), nn.Linear(6, classes),
        )  # fmt: skip


class Wide(nn.Module):
    """A part in float64."""

    def __init__(self, classes=4):
        super().__init__()
        self.body, self.head = nn.Linear(16, 8), nn.Linear(8, classes).double()

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu().double())


class Half(nn.Module):
    """A part in bfloat16."""

    def __init__(self, classes=4):
        super().__init__()
        self.body, self.head = nn.Linear(16, 8).bfloat16(), nn.Linear(8, classes)

    def forward(self, x):
        return self.head(self.body(x.flatten(1).bfloat16()).relu().float())


class Adapted(nn.Module):
    """LoRA: a frozen weight and two small ones beside it."""

    def __init__(self, classes=4):
        super().__init__()
        self.base, self.head = nn.Linear(16, 8).requires_grad_(False), nn.Linear(8, classes)
        self.down, self.up = nn.Linear(16, 2, bias=False), nn.Linear(2, 8, bias=False)

    def forward(self, x):
        x = x.flatten(1)
        return self.head((self.base(x) + self.up(self.down(x))).relu())


class Scan(nn.Module):
    """Positions, shapes and branches that depend on the data."""

    def __init__(self, classes=4):
        super().__init__()
        self.low, self.high, self.head = nn.Linear(16, 8), nn.Linear(16, 8), nn.Linear(8, classes)

    def forward(self, x):
        x = x.flatten(1)
        high = x.mean(1, keepdim=True) > 0
        return self.head(torch.where(high, self.high(x), self.low(x)).relu())


class Numpy(nn.Module):
    """Weights drawn by numpy."""

    def __init__(self, classes=4):
        super().__init__()
        self.body, self.head = nn.Linear(16, 8), nn.Linear(8, classes)
        with torch.no_grad():
            self.body.weight.copy_(torch.from_numpy(np.random.randn(8, 16).astype("float32") / 4))

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu())


class TwoHeads(nn.Module):
    """The mean of two heads' logits."""

    def __init__(self, classes=4):
        super().__init__()
        self.body, self.one, self.two = (
            nn.Linear(16, 8),
            nn.Linear(8, classes),
            nn.Linear(8, classes),
        )

    def forward(self, x):
        x = self.body(x.flatten(1)).relu()
        return (self.one(x) + self.two(x)) / 2


class StandardizedNet(nn.Sequential):
    def __init__(self, classes=4):
        super().__init__(
            Standardized(1, 4, 3), nn.ReLU(), Standardized(4, 4, 3), nn.ReLU(), Head(4, classes)
        )


def entry(name, **options):
    arguments = options.pop("arguments", {})
    return {"model": {"_target_": f"tests.zoo.{name}", **arguments}, **options}


ZOO = {
    "residual": entry("Residual", flops=True),
    "pre-activation": entry("PreActivation", flops=True),
    "dense": entry("Dense", flops=True),
    "squeeze-excite": entry("SqueezeExcite", flops=True),
    "depthwise": entry("Depthwise", flops=True),
    "grouped": entry("Grouped", flops=True),
    "dilated": entry("Dilated", flops=True),
    "transposed": entry("Transposed", flops=True),
    "1-d": entry("OneD", flops=True),
    "3-d": entry("ThreeD", flops=True),
    "u-net": entry("UNet", flops=True),
    "pixel shuffle": entry("PixelShuffle", flops=True),
    "inception": entry("Inception", flops=True),
    "vit": entry("Patches"),
    "mixer": entry("Mixer", flops=True),
    "lstm": entry("Recurrent", flops=True),
    "gru, two ways": entry("Recurrent", flops=True, arguments={"kind": "GRU", "directions": 2}),
    "rnn, stacked": entry(
        "Recurrent", flops=True, arguments={"kind": "RNN", "num_layers": 2, "batch_first": False}
    ),
    "projected lstm": entry("Recurrent", flops=True, arguments={"proj_size": 3}),
    "cells": entry("Cells", flops=True),
    "packed": entry("Packed", flops=True),
    "text": entry("Text", flops=True),
    "embedding bag": entry("Bag", flops=True),
    "tied": entry("Tied", flops=True, output="embedding.weight"),
    "autoencoder": entry("Autoencoder", flops=True, output="head.weight"),
    "shared": entry("Shared", flops=True),
    "in place": entry("InPlace", flops=True),
    "lazy": entry("Lazy", flops=True),
    "keywords": entry("Keywords", flops=True),
    "parameters": entry("Parameters", flops=True, output="middle.weight"),
    "parameters, included": entry(
        "Parameters", flops=True, include=["many.*", "named.w", "last"], output="last"
    ),
    "experts": entry("Experts", flops=True),
    "batched experts": entry("Batched", flops=True, include=["experts"]),
    "stochastic depth": entry("Stochastic", flops=True),
    "stochastic depth, numpy's": entry("NumpyDepth", flops=True),
    "unused": entry("Unused", flops=True, output="head.weight"),
    "weight norm": entry(
        "WeightNormed", flops=True, output="head.parametrizations.weight.original1"
    ),
    "weight norm, old": entry("WeightNormed", flops=True, arguments={"old": True}),
    "spectral norm": entry("SpectralNormed", flops=True),
    "spectral norm, old": entry("SpectralNormed", flops=True, arguments={"old": True}),
    "parametrized": entry("Parametrized", flops=True),
    "standardized": entry("StandardizedNet", flops=True),
    "bilinear": entry("Bilinear", output="join.weight"),
    "siamese": entry("Siamese", flops=True),
    "highway": entry("Highway", flops=True),
    "maxout": entry("Maxout", flops=True),
    "buffers": entry("Buffers"),
    "frozen": entry("Frozen", flops=True),
    "attention": entry("Attention", output="head.weight"),
    "attention, wide keys": entry("Attention", arguments={"keys": 4, "dropout": 0.1}),
    "own attention": entry("OwnAttention"),
    "encoder": entry("Encoder", output="head.weight"),
    "queries": entry("Queries"),
    "norms": entry("Norms", flops=True),
    "dropouts": entry("Dropouts", flops=True),
    "float64": entry("Wide", flops=True),
    "bfloat16": entry("Half", flops=True),
    "lora": entry("Adapted", flops=True),
    "data dependent": entry("Scan", flops=True),
    "numpy's draws": entry("Numpy", flops=True),
    "two heads": entry("TwoHeads", flops=True, output="two.weight"),
}

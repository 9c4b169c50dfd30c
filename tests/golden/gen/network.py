"""Builds the torch module that a row describes."""

import numpy
import torch
from torch import nn

import attention
import pointwise
import recurrent
import sequence
from row import layer


class Residual(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.inner = nn.ModuleList(_chain(width, inner))
        self.width = width

    def forward(self, x, io):
        y = x
        for part in self.inner:
            y = part(y, io)
        return x + y


class Network(nn.Module):
    def __init__(self, row):
        super().__init__()
        self.names = [i.name for i in row.inputs]
        first = row.inputs[0]
        # a [B, C, T] input holds its features in the middle
        fixed = [d for d in first.dims[1:] if isinstance(d, int)]
        self.parts = nn.ModuleList(_chain(fixed[-1] if fixed else 0, row.layers))

    def run(self, *tensors):
        io = dict(zip(self.names, tensors))
        io["out"] = []
        x = tensors[0]
        for part in self.parts:
            x = part(x, io)
        return [("y", x)] + io["out"]

    def forward(self, *tensors):
        return tuple(value for _, value in self.run(*tensors))


def build(row, seed):
    torch.manual_seed(0)
    net = Network(row).eval()
    fill(net, numpy.random.RandomState(seed))
    return net


def fill(net, random):
    """Weights from numpy, so that every torch gives the same network for the same row."""
    for name, value in list(net.named_parameters()) + list(net.named_buffers()):
        if not value.dtype.is_floating_point:
            continue
        spread = 1.4 / max(1.0, float(value.shape[-1])) ** 0.5 if value.dim() > 1 else 0.5
        drawn = random.uniform(-spread, spread, tuple(value.shape))
        if name.endswith("running_var"):
            drawn = numpy.abs(drawn) + 0.3
        elif value.dim() == 1 and (name.endswith("weight") or name.endswith("gain")):
            drawn = drawn + 1.0
        value.data.copy_(torch.from_numpy(drawn.astype("float32")))


def _chain(width, layers):
    parts = []
    for item in layers:
        part = Residual(width, item) if isinstance(item, list) else _part(width, *layer(item))
        width = part.width
        parts.append(part)
    return parts


def _part(width, kind, args, options):
    """Widths run from one layer to the next, so a row names only what is new."""
    if kind in ("lstm", "gru", "rnn"):
        return recurrent.Recurrent(kind, width, *args, **options)
    if kind in ("lstmcell", "grucell", "rnncell"):
        return recurrent.Cell(kind[:-4], width, *args, **options)
    if kind == "act":
        return pointwise.Activation(width, next(iter(options)))
    if kind == "fan":
        return pointwise.Fan(width, next(iter(options)))
    if kind == "conv":
        return pointwise.Conv(width, *args, **options)
    if kind == "embed":
        return pointwise.Embed(width, *args, **options)
    if kind == "freenorm":
        return pointwise.FreeNorm(width)
    if kind == "linear":
        return pointwise.Plain(nn.Linear(width, args[0], bias=not options.get("nobias")), args[0])
    if kind == "layernorm":
        return pointwise.Plain(nn.LayerNorm(width, elementwise_affine=not options.get("bare")), width)
    if kind == "dropout":
        return pointwise.Plain(nn.Dropout(0.3), width)
    if kind == "prelu":
        return pointwise.Plain(nn.PReLU(), width)
    if kind == "prelu_channels":
        return pointwise.Channelwise(nn.PReLU(width), width)
    if kind == "batchnorm":
        return pointwise.Channelwise(nn.BatchNorm1d(width), width)
    if kind == "groupnorm":
        return pointwise.Channelwise(nn.GroupNorm(args[0], width), width)
    if kind == "branch":
        return sequence.Branch(width, **options)
    if kind == "additive":
        return attention.Additive(width, *args, **options)
    if kind == "attn_pool":
        return attention.Pool(width)
    if kind == "heads":
        return attention.Heads(width, *args, **options)
    if kind == "bmm":
        return attention.Batched(width)
    if kind == "shape":
        return sequence.Shape(width, next(iter(options)))
    raise ValueError("unknown layer " + kind)

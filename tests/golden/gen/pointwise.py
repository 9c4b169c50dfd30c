"""Linear, normalisation, convolution and activation layers."""

import torch
import torch.nn.functional as F
from torch import nn

ACTIVATIONS = {
    "relu": F.relu, "leaky": lambda x: F.leaky_relu(x, 0.07), "elu": lambda x: F.elu(x, 0.8), "selu": F.selu,
    "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "mish": F.mish,
    "hardsigmoid": F.hardsigmoid, "hardswish": F.hardswish, "hardtanh": lambda x: F.hardtanh(x, -0.6, 0.7),
    "relu6": F.relu6, "clamp": lambda x: x.clamp(min=-0.4), "softplus": F.softplus, "softsign": F.softsign,
    "celu": lambda x: F.celu(x, 1.3), "tanh": torch.tanh, "sigmoid": torch.sigmoid, "logsigmoid": F.logsigmoid,
    "abs": torch.abs, "exp": lambda x: torch.exp(0.3 * x), "sqrt": lambda x: torch.sqrt(x * x + 0.1),
    "log": lambda x: torch.log(x * x + 0.5), "erf": torch.erf, "neg": torch.neg, "square": lambda x: x.pow(2),
    "cube": lambda x: x ** 3, "sign": torch.sign, "floor": torch.floor, "ceil": torch.ceil, "round": torch.round,
    "reciprocal": lambda x: torch.reciprocal(x * x + 1.0), "rsqrt": lambda x: torch.rsqrt(x * x + 0.2),
    "threshold": lambda x: F.threshold(x, 0.2, 0.0), "softmax": lambda x: F.softmax(x, dim=-1),
    "softmax_time": lambda x: F.softmax(x, dim=1), "logsoftmax": lambda x: F.log_softmax(x, dim=-1),
    "glu": lambda x: F.glu(x, dim=-1), "softplus_beta": lambda x: F.softplus(x, beta=2.0),
}


class Activation(nn.Module):
    def __init__(self, width, name):
        super().__init__()
        self.name = name
        self.width = width // 2 if name == "glu" else width

    def forward(self, x, io):
        return ACTIVATIONS[self.name](x)


class Fan(nn.Module):
    """`fan relu,elu`: every named activation of one input, side by side in one output each."""

    def __init__(self, width, names):
        super().__init__()
        self.names, self.width = names.split(","), width

    def forward(self, x, io):
        for name in self.names:
            io["out"].append((name, ACTIVATIONS[name](x)))
        return x + 1.0


class Plain(nn.Module):
    """A torch module that takes and gives one tensor."""

    def __init__(self, net, width):
        super().__init__()
        self.net, self.width = net, width

    def forward(self, x, io):
        return self.net(x)


class Channelwise(nn.Module):
    """Runs a [B, C, T] module on a [B, T, C] sequence."""

    def __init__(self, net, width):
        super().__init__()
        self.net, self.width = net, width

    def forward(self, x, io):
        return self.net(x.transpose(1, 2)).transpose(1, 2)


class Conv(nn.Module):
    """`conv 8 k=3 stride=2 dil=1 groups=1 pad=1 same mode=reflect causal raw`; raw: x is [B, C, T] already."""

    def __init__(self, width, out, k=3, stride=1, dil=1, groups=1, pad=0, same=False, mode="zeros", causal=False,
                 nobias=False, raw=False):
        super().__init__()
        self.left = (k - 1) * dil if causal else 0
        self.raw, self.width = raw, out
        # `causal` pads by F.pad in the graph; otherwise the module's own padding (a Pad node when mode is not zeros)
        self.mode = {"zeros": "constant"}.get(mode, mode)
        own_mode = "zeros" if causal else mode
        self.net = nn.Conv1d(width, out, k, stride=stride, padding="same" if same else pad, dilation=dil,
                             groups=groups, bias=not nobias, padding_mode=own_mode)

    def forward(self, x, io):
        if not self.raw:
            x = x.transpose(1, 2)
        if self.left:
            x = F.pad(x, (self.left, 0), mode=self.mode)
        x = self.net(x)
        return x if self.raw else x.transpose(1, 2)


class Embed(nn.Module):
    def __init__(self, width, rows, out, pad=None):
        super().__init__()
        self.net, self.width = nn.Embedding(rows, out, padding_idx=pad), out

    def forward(self, x, io):
        return self.net(x)


class FreeNorm(nn.Module):
    """Layer normalisation written out by hand, as in models older than nn.LayerNorm's exporter."""

    def __init__(self, width):
        super().__init__()
        self.width = width
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x, io):
        mean = x.mean(-1, keepdim=True)
        spread = x.std(-1, keepdim=True, unbiased=False)
        return self.gain * (x - mean) / (spread + 1e-5)

"""Layers that move, pool, cut and pick along the axes of a sequence."""

import torch
import torch.nn.functional as F
from torch import nn


def last_by_length(x, io):
    index = (io["lengths"] - 1).view(-1, 1, 1).expand(-1, 1, x.size(2))
    return x.gather(1, index).squeeze(1)


def last_by_row(x, io):
    return x[torch.arange(x.size(0)), io["lengths"] - 1]


def valid(x, io):
    return (torch.arange(x.size(1)).unsqueeze(0) < io["lengths"].unsqueeze(1)).unsqueeze(2)


def mean_by_length(x, io):
    held = valid(x, io).to(x.dtype)
    return (x * held).sum(1) / held.sum(1).clamp(min=1.0)


def max_by_length(x, io):
    return x.masked_fill(~valid(x, io), float("-inf")).max(dim=1)[0]


def join_mean_max_last(x, io):
    return torch.cat([x.mean(1), x.max(1)[0], x[:, -1]], dim=-1)


def halves(x, io):
    a, b = x.chunk(2, dim=-1)
    return a * torch.sigmoid(b) + b


def split_three(x, io):
    a, b, c = torch.split(x, [1, x.size(-1) - 3, 2], dim=-1)
    return torch.cat([c, a, b], dim=-1)


def stack_pair(x, io):
    return torch.stack([x, -x, x * 0.5], dim=2).sum(dim=2)


def top_two(x, io):
    value, index = x.topk(2, dim=-1)
    io["out"].append(("top_index", index))
    return value


def best(x, io):
    io["out"].append(("best", x.argmax(dim=-1)))
    return x


def one_hot_best(x, io):
    io["out"].append(("hot", F.one_hot(x.argmax(dim=-1), num_classes=x.size(-1))))
    return x


def as_double(x, io):
    io["out"].append(("double", x.double()))
    io["out"].append(("positive", x > 0))
    io["out"].append(("whole", (x * 10).to(torch.int64)))
    io["out"].append(("narrow", (x * 10).to(torch.int32)))
    return x


def reduce_all_ways(x, io):
    for name, value in (("sum", x.sum(-1)), ("prod", x[..., :3].prod(-1)), ("least", x.min(-1)[0]), ("norm", x.norm(dim=-1)),
                        ("norm1", x.norm(p=1, dim=-1)), ("lse", x.logsumexp(-1)), ("var", x.var(-1)), ("total", x.mean())):
        io["out"].append((name, value))
    return x.mean(1, keepdim=True)


def compare(x, io):
    a, b = x[..., 0], x[..., 1]
    either = ((a > b) | (a <= -0.5)) & ~(b == 0)
    io["out"].append(("either", either))
    io["out"].append(("differ", (a >= 0) ^ (b < 0)))
    return torch.where(either, torch.maximum(a, b), torch.minimum(a, b) - 1.0)


def shape_maths(x, io):
    b, t, f = x.shape
    position = torch.arange(t, dtype=torch.float32).view(1, t, 1) / float(f)
    return (x.reshape(b, t * f).view(b, t, f) + position).flatten(1).view(b, t, f)


# Several of these exist only because exporters turn them into different nodes.
PLAIN = {
    "last": lambda x, io: x[:, -1],
    "last_first": lambda x, io: x[-1],
    "first": lambda x, io: x[:, 0],
    "last_len": last_by_length,
    "last_row": last_by_row,
    "mean": lambda x, io: x.mean(dim=1),
    "max": lambda x, io: x.max(dim=1)[0],
    "amax": lambda x, io: x.amax(dim=1),
    "mean_len": mean_by_length,
    "max_len": max_by_length,
    "adaptive_max": lambda x, io: F.adaptive_max_pool1d(x.transpose(1, 2), 1).squeeze(-1),
    "every_other": lambda x, io: x[:, ::2],
    "drop_ends": lambda x, io: x[:, 1:-1],
    "narrow": lambda x, io: x.narrow(2, 1, 3),
    "flip": lambda x, io: torch.flip(x, [1]),
    "cumsum": lambda x, io: x.cumsum(dim=1),
    "halves": halves,
    "split_three": split_three,
    "stack_pair": stack_pair,
    "top_two": top_two,
    "best": best,
    "one_hot_best": one_hot_best,
    "types": as_double,
    "reductions": reduce_all_ways,
    "compare": compare,
    "shape_maths": shape_maths,
    "squeeze_time": lambda x, io: x.mean(1, keepdim=True).squeeze(1),
    "squeeze_unknown": lambda x, io: x.squeeze(1),
    "transpose": lambda x, io: x.transpose(0, 1),
    "pad_time": lambda x, io: F.pad(x, (0, 0, 2, 1), value=0.25),
    "tile": lambda x, io: x.repeat(1, 2, 1),
    "expand_add": lambda x, io: x + x.mean(1, keepdim=True).expand(-1, x.size(1), -1),
    "tri": lambda x, io: x[:, :, None, :].expand(-1, -1, 2, -1).reshape(x.size(0), -1, x.size(2)),
}


class Shape(nn.Module):
    def __init__(self, width, name):
        super().__init__()
        self.name, self.width = name, width
        if name == "join3":
            self.width = 3 * width
        if name == "halves":
            self.width = width // 2
        if name in ("narrow",):
            self.width = 3
        if name == "top_two":
            self.width = 2

    def forward(self, x, io):
        return join_mean_max_last(x, io) if self.name == "join3" else PLAIN[self.name](x, io)


@torch.jit.script
def _scripted_branch(x: torch.Tensor) -> torch.Tensor:
    if x.size(1) > 4:
        y = x * 2.0 - 1.0
    else:
        y = torch.relu(x) + 0.5
    return y


@torch.jit.script
def _scripted_nested(x: torch.Tensor) -> torch.Tensor:
    # the branches use `scale` of the outer scope and differ in the shape they give
    scale = x.mean()
    if bool(scale > 0):
        if x.size(0) > 2:
            y = x.sum(dim=1) * scale
        else:
            y = x.max(dim=1)[0]
    else:
        y = torch.tanh(x[:, 0]) - scale
    return y


class Branch(nn.Module):
    """`branch`, `branch nested`: scripted, for the TorchScript exporters. `branch cond`: torch.cond, for dynamo."""

    def __init__(self, width, nested=False, cond=False):
        super().__init__()
        self.width, self.nested, self.cond = width, nested, cond

    def forward(self, x, io):
        if self.cond:
            return torch.cond(x.mean() > 0, lambda v: torch.tanh(v) * 2.0, lambda v: torch.relu(v) - 1.0, (x,))
        return _scripted_nested(x) if self.nested else _scripted_branch(x)

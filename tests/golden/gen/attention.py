"""Soft attention over states, in the forms that people write it."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Additive(nn.Module):
    """Bahdanau: score = v . tanh(W q + U h); the query is the graph input `query`. Padding masked by `mask`."""

    def __init__(self, width, hidden, fill=False):
        super().__init__()
        self.query, self.key = nn.Linear(hidden, hidden), nn.Linear(width, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.width, self.fill = width, fill

    def forward(self, x, io):
        score = self.score(torch.tanh(self.query(io["query"]).unsqueeze(1) + self.key(x))).squeeze(2)
        if self.fill:
            score = score.masked_fill(~io["mask"], -1e9)
        else:
            score = torch.where(io["mask"], score, torch.full_like(score, float("-inf")))
        weight = F.softmax(score, dim=1)
        io["out"].append(("weights", weight))
        return torch.bmm(weight.unsqueeze(1), x).squeeze(1)


class Pool(nn.Module):
    """Self-attentive pooling: one learned query, weights over the time steps below `lengths`."""

    def __init__(self, width):
        super().__init__()
        self.score, self.width = nn.Linear(width, 1), width

    def forward(self, x, io):
        score = self.score(x)
        if "lengths" in io:
            past = torch.arange(x.size(1)).unsqueeze(0) >= io["lengths"].unsqueeze(1)
            score = score.masked_fill(past.unsqueeze(-1), float("-inf"))
        return (F.softmax(score, dim=1) * x).sum(dim=1)


class Heads(nn.Module):
    """Multi-head self-attention written with matmul; `causal` masks the future."""

    def __init__(self, width, heads, causal=False):
        super().__init__()
        self.heads, self.width, self.causal = heads, width, causal
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x, io):
        b, t, f = x.shape
        q, k, v = (p.view(b, t, self.heads, f // self.heads).transpose(1, 2) for p in self.qkv(x).chunk(3, dim=-1))
        score = q @ k.transpose(-2, -1) / math.sqrt(f // self.heads)
        if self.causal:
            step = torch.arange(t)
            score = score.masked_fill(step.unsqueeze(0) > step.unsqueeze(1), float("-inf"))
        return self.out((score.softmax(-1) @ v).transpose(1, 2).reshape(b, t, f))


class Batched(nn.Module):
    """bmm and baddbmm with a bilinear form."""

    def __init__(self, width):
        super().__init__()
        self.bilinear, self.width = nn.Parameter(torch.zeros(width, width)), width

    def forward(self, x, io):
        score = torch.bmm(x @ self.bilinear, x.transpose(1, 2)).tanh()
        return torch.baddbmm(x, score, x, beta=0.5, alpha=0.1)

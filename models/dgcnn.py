"""dgcnn.py - deep graph convolutions with SortPooling (Zhang, Cui, Neumann, Chen, AAAI 2018), and its training.

Four convolutions H' = tanh(D^-1 (A + I) H W); the k nodes with the largest last channel, in that order, become a
sequence of k rows; two one-dimensional convolutions, a hidden layer, dropout, classes. As in the code that made the
paper's figures (the authors' Torch): convolutions have no bias, all weights start uniform, k is chosen so that 60 % of the
graphs have at most k nodes, a step is a graph, training is a fixed number of epochs of Adam, and the accuracy is that
of the last epoch: nothing is chosen by looking at a test fold.
"""
import pathlib
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_geometric.utils import scatter

import dgcnn_steps
import recipe
import serving
import tu

CHANNELS = (32, 32, 32, 1)
# name: data, learning rate, epochs, the paper's figure
TASKS = {"dgcnn-mutag": ("MUTAG", 1e-4, 300, 85.83), "dgcnn-proteins": ("PROTEINS", 1e-5, 100, 75.54)}
CALL = """
import json
tags = %s
ends = %s
pairs = ends + [(b, a) for a, b in ends]
x = [int(t == i) for t in tags for i in range(%d)]
print(json.dumps({"inputs": [
  {"name": "x", "datatype": "FP32", "shape": [len(tags), %d], "data": x},
  {"name": "edge_index", "datatype": "INT64", "shape": [2, len(pairs)], "data": [e for side in zip(*pairs) for e in side]}]}))
"""


def uniform(weights, limit):
    nn.init.uniform_(weights, -limit, limit)


class Dgcnn(nn.Module):
    def __init__(self, n_features, n_classes, k):
        super().__init__()
        self.k, total = k, sum(CHANNELS)
        widths = (n_features, *CHANNELS)
        self.parts = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in zip(widths, widths[1:]))
        self.rows = nn.Conv1d(1, 16, total, total)  # each node's row on its own
        self.along = nn.Conv1d(16, 32, 5)
        self.hidden = nn.Linear(32 * (k // 2 - 4), 128)
        self.out = nn.Linear(128, n_classes)
        for part in self.parts:
            uniform(part.weight, (2 / part.in_features)**0.5)
        for layer in (self.rows, self.along, self.hidden, self.out):
            for weights in (layer.weight, layer.bias):
                uniform(weights, layer.weight[0].numel()**-0.5)

    def embed(self, x, edge_index):
        """[nodes, sum of CHANNELS], and a row of zeros for nodes that are not there, last in the order."""
        source, target = edge_index[0], edge_index[1]  # unpacked it would export as a Split
        degree = 1 + scatter(torch.ones_like(target, dtype=x.dtype), target, 0, x.shape[0])
        all_parts = []
        for part in self.parts:
            near = scatter(x.index_select(0, source), target, 0, x.shape[0])
            x = torch.tanh(part(x + near) / degree.unsqueeze(1))
            all_parts.append(x)
        return torch.cat(all_parts, 1)

    def head(self, rows):
        """rows [graphs, k, channels], sorted -> [graphs, classes]."""
        x = torch.relu(self.rows(rows.flatten(1).unsqueeze(1)))
        x = x[:, :, :self.k // 2 * 2].unflatten(2, (self.k // 2, 2)).amax(3)
        x = torch.relu(self.along(x))
        x = functional.dropout(torch.relu(self.hidden(x.flatten(1))), 0.5, self.training)
        return self.out(x)

    def forward(self, x, edge_index):
        """One graph: [1, classes]."""
        z = self.embed(x, edge_index)
        none = z.new_zeros(self.k, z.shape[1])
        key = torch.cat([z[:, -1], none[:, 0] - 2])
        best = key.topk(self.k).indices
        return self.head(torch.cat([z, none]).index_select(0, best).unsqueeze(0))


def train(graphs, some, rate, epochs, k, seed, held_out=()):
    """A network from the graphs `some`, and the curves of each epoch; held_out is looked at for the curves alone."""
    recipe.set_seed(seed)
    net = Dgcnn(graphs.x.shape[1], graphs.y.max() + 1, k).eval()
    curves = {"training": [], **({"test fold": []} if len(held_out) else {})}

    def look():
        with torch.no_grad():
            losses = [functional.cross_entropy(net(*graphs.one(g)), torch.tensor([graphs.y[g]])).item() for g in held_out]
        if losses:
            curves["test fold"].append(float(np.mean(losses)))

    curves["training"] = dgcnn_steps.train(net, graphs, some, rate, epochs, seed, look)
    return net, curves


def main(script, example):
    """`example`: (tags, edges) of a graph for the README."""
    task = pathlib.Path(script).resolve().parent.name
    name, rate, epochs, paper = TASKS[task]
    args, graphs, split = tu.arguments(script, name)
    k = max(10, sorted(graphs.sizes)[int(np.ceil(0.6 * len(graphs))) - 1])
    nets = []
    for i, (some, test) in enumerate(split):
        net, curves = train(graphs, some, rate, epochs, k, args.seed + i, test if i == 0 else ())
        if i == 0:
            recipe.plot_loss(args.out / "loss.png", curves, "cross-entropy")
        nets.append(net)
        print(f"{task} fold {i + 1} trained", file=sys.stderr, flush=True)
    print(f"paper: {paper}; k = {k}")
    own, n = args.out / "1" / "model.onnx", graphs.x.shape[1]
    tu.measure(task, nets, graphs, split, own)
    print(serving.show_call(own, task, CALL % (*example, n, n)))

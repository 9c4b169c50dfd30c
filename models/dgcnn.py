"""dgcnn.py - deep graph convolutions with SortPooling (Zhang, Cui, Neumann, Chen, AAAI 2018), and its training.

Four convolutions H' = tanh(D^-1 (A + I) H W); the k nodes with the largest last channel, in that order, become a
sequence of k rows; two one-dimensional convolutions, a hidden layer, dropout, classes. As in the authors' code, k is
chosen so that 60 % of the graphs have at most k nodes, training is a fixed number of epochs of Adam, and the accuracy is
that of the last epoch: nothing is chosen by looking at a test fold. A step is a graph, as in their script; for MUTAG it
is a batch of 50, which they allow and which is as good there.
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
# name: data, learning rate, epochs, graphs of a step, the paper's figure
TASKS = {"dgcnn-mutag": ("MUTAG", 1e-4, 300, 50, 85.83), "dgcnn-proteins": ("PROTEINS", 1e-5, 100, 1, 75.54)}
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


class Dgcnn(nn.Module):
    def __init__(self, n_features, n_classes, k):
        super().__init__()
        self.k, total = k, sum(CHANNELS)
        widths = (n_features, *CHANNELS)
        self.parts = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.rows = nn.Conv1d(1, 16, total, total)  # each node's row on its own
        self.along = nn.Conv1d(16, 32, 5)
        self.hidden = nn.Linear(32 * (k // 2 - 4), 128)
        self.out = nn.Linear(128, n_classes)
        for layer in (*self.parts, self.hidden, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

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

    def convolve(self, layer, x):
        """layer(x); as a product while training, because so small convolutions are slow to differentiate."""
        if not self.training:
            return layer(x)
        x = x.unfold(2, layer.kernel_size[0], layer.stride[0]).transpose(1, 2).flatten(2)
        return functional.linear(x, layer.weight.flatten(1), layer.bias).transpose(1, 2)

    def head(self, rows):
        """rows [graphs, k, channels], sorted -> [graphs, classes]."""
        x = torch.relu(self.convolve(self.rows, rows.flatten(1).unsqueeze(1)))
        x = x[:, :, :self.k // 2 * 2].unflatten(2, (self.k // 2, 2)).amax(3)
        x = torch.relu(self.convolve(self.along, x))
        x = functional.dropout(torch.relu(self.hidden(x.flatten(1))), 0.5, self.training)
        return self.out(x)

    def several(self, x, edge_index, rows):
        """Logits of the graphs of a tu.Graphs.batch."""
        z = self.embed(x, edge_index)
        z = torch.cat([z, z.new_zeros(1, z.shape[1])])
        key = torch.cat([z[:-1, -1], z.new_full((1,), -2)])[rows]  # tanh is above -2
        best = rows.gather(1, key.topk(self.k, 1).indices)
        return self.head(z.index_select(0, best.flatten()).view(len(rows), self.k, -1))

    def forward(self, x, edge_index):
        """One graph: [1, classes]."""
        z = self.embed(x, edge_index)
        none = z.new_zeros(self.k, z.shape[1])
        key = torch.cat([z[:, -1], none[:, 0] - 2])
        best = key.topk(self.k).indices
        return self.head(torch.cat([z, none]).index_select(0, best).unsqueeze(0))


def train(graphs, some, rate, epochs, batch, k, held_out=()):
    """A network from the graphs `some`, and the curves of each epoch; held_out is looked at for the curves alone."""
    net = Dgcnn(graphs.x.shape[1], graphs.y.max() + 1, k)
    curves = {"training": [], **({"test fold": []} if len(held_out) else {})}
    rest = graphs.batch(held_out, k) if len(held_out) else None

    def look():
        if rest is not None:
            with torch.no_grad():
                x, edges, y, rows = rest
                curves["test fold"].append(functional.cross_entropy(net.eval().several(x, edges, rows), y).item())

    if batch == 1:
        curves["training"] = dgcnn_steps.train(net, graphs, some, rate, epochs, look)
        return net.eval(), curves
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    for _ in range(epochs):
        net.train()
        order, total = np.random.permutation(some), 0.0
        for at in range(0, len(order) - batch + 1, batch):
            x, edges, y, rows = graphs.batch(order[at:at + batch], k)
            loss = functional.cross_entropy(net.several(x, edges, rows), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * batch / (len(order) // batch * batch)
        curves["training"].append(total)
        look()
    return net.eval(), curves


def main(script, example):
    """`example`: (tags, edges) of a graph for the README."""
    task = pathlib.Path(script).resolve().parent.name
    name, rate, epochs, batch, paper = TASKS[task]
    args, graphs, split = tu.arguments(script, name)
    k = max(10, sorted(graphs.sizes)[int(np.ceil(0.6 * len(graphs))) - 1])
    nets = []
    for i, (some, test) in enumerate(split):
        recipe.set_seed(args.seed)
        net, curves = train(graphs, some, rate, epochs, batch, k, test)
        if i == 0:
            recipe.plot_loss(args.out / "loss.png", curves, "cross-entropy")
        nets.append(net)
        print(f"{task} fold {i + 1} trained", file=sys.stderr, flush=True)
    print(f"paper: {paper}; k = {k}")
    own, n = args.out / "1" / "model.onnx", graphs.x.shape[1]
    tu.measure(task, nets, graphs, split, own)
    print(serving.show_call(own, task, CALL % (*example, n, n)))

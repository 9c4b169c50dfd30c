"""train.py - diffpool-proteins: is a protein an enzyme? DiffPool (Ying et al. 2018, arXiv 1806.08804).

One network of GraphSAGE layers embeds the nodes, another says to which of CLUSTERS clusters each belongs (softmax); the
clusters' embeddings S'Z and their weighted edges S'AS are a graph of its own, which goes through dense layers. Read out
is the largest value over the nodes, and over the clusters. The loss has the authors' two further parts: |A - SS'|, and
the entropy of S. Sums over the nodes of a graph are products for one graph and scatters for a batch: no padding.

As in the authors' code the figure is the best epoch of the mean over the ten folds, one epoch for all of them; that is
a choice made on the test folds, so the figure of the last epoch is printed as well.
"""
import copy
import pathlib
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_geometric.utils import scatter

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import recipe  # noqa: E402
import serving  # noqa: E402
import tu  # noqa: E402

HIDDEN, CLUSTERS, EPOCHS, BATCH, RATE, DECAY, CLIP = 32, 16, 40, 50, 3e-3, 1e-4, 2.0
TASK, PAPER = "diffpool-proteins", 76.25
CALL = """
import json
tags = [0, 0, 1, 1, 2]
ends = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 2), (1, 3)]
pairs = ends + [(b, a) for a, b in ends]
x = [int(t == i) for t in tags for i in range(3)]
print(json.dumps({"inputs": [
  {"name": "x", "datatype": "FP32", "shape": [len(tags), 3], "data": x},
  {"name": "edge_index", "datatype": "INT64", "shape": [2, len(pairs)], "data": [e for side in zip(*pairs) for e in side]}]}))
"""


class Sage(nn.Module):
    """Layers of relu(W h + V mean of the neighbours' h), on nodes (edge_index) or clusters (a matrix)."""

    def __init__(self, *widths):
        super().__init__()
        self.own = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.near = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in zip(widths, widths[1:]))

    def forward(self, x, mean, last_plain=False):
        for i, (own, near) in enumerate(zip(self.own, self.near)):
            x = own(x) + near(mean(x))
            if not last_plain or i + 1 < len(self.own):
                x = torch.relu(x)
        return x


class DiffPool(nn.Module):
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.embed = Sage(n_features + 1, HIDDEN, HIDDEN)
        self.assign = Sage(n_features + 1, HIDDEN, CLUSTERS)
        self.coarse = Sage(HIDDEN, HIDDEN, HIDDEN)
        self.hidden, self.out = nn.Linear(2 * HIDDEN, HIDDEN), nn.Linear(HIDDEN, n_classes)

    def nodes(self, x, edge_index):
        """z [nodes, HIDDEN], s and As [nodes, CLUSTERS]."""
        source, target = edge_index[0], edge_index[1]

        def total(v):
            return scatter(v.index_select(0, source), target, 0, x.shape[0])

        degree = total(torch.ones_like(x[:, :1]))
        x, count = torch.cat([x, degree / 10], 1), degree.clamp(min=1)
        z = self.embed(x, lambda v: total(v) / count)
        s = self.assign(x, lambda v: total(v) / count, last_plain=True).softmax(1)
        return z, s, total(s)

    def clusters(self, x, matrix, largest):
        """Logits from the clusters' x [..., CLUSTERS, HIDDEN], their edges, and the largest values of the nodes."""
        matrix = matrix / matrix.sum(-1, keepdim=True).clamp(min=1e-6)
        x = self.coarse(x, lambda v: matrix @ v)
        x = torch.relu(self.hidden(torch.cat([largest, x.amax(-2)], -1)))
        return self.out(functional.dropout(x, 0.5, self.training))

    def several(self, x, edge_index, rows):
        """Logits of the graphs of a tu.Graphs.batch, and the two further parts of the loss."""
        z, s, near = self.nodes(x, edge_index)
        sizes = (rows < len(x)).sum(1)
        n, graph = len(rows), torch.arange(len(rows)).repeat_interleave(sizes)

        def products(a, b):
            both = (a.unsqueeze(2) * b.unsqueeze(1)).flatten(1)
            return scatter(both, graph, 0, n).view(n, a.shape[1], b.shape[1])

        matrix, largest = products(s, near), scatter(z, graph, 0, n, reduce="max")
        edges = scatter(torch.ones_like(graph[edge_index[0]], dtype=x.dtype), graph[edge_index[0]], 0, n)
        apart = edges - 2 * matrix.diagonal(0, 1, 2).sum(1) + products(s, s).square().sum((1, 2))
        link = (apart.clamp(min=0) + 1e-9).sqrt() / sizes
        entropy = -(s * (s + 1e-9).log()).sum(1)
        return self.clusters(products(s, z), matrix, largest), link.mean() + entropy.mean()

    def forward(self, x, edge_index):
        """One graph: [1, classes]."""
        z, s, near = self.nodes(x, edge_index)
        return self.clusters(s.T @ z, s.T @ near, z.amax(0)).unsqueeze(0)


def train(graphs, some, test):
    """The network, its weights after each epoch, the accuracy of each epoch on the test fold, curves."""
    net = DiffPool(graphs.x.shape[1], graphs.y.max() + 1)
    updates = len(some) // BATCH * EPOCHS
    optimiser = torch.optim.Adam(net.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, updates, pct_start=0.1)
    rest, weights, right, curves = graphs.batch(test), [], [], {"training": [], "test fold": []}
    for _ in range(EPOCHS):
        net.train()
        order, total = np.random.permutation(some), 0.0
        for at in range(0, len(order) - BATCH + 1, BATCH):
            x, edges, y, rows = graphs.batch(order[at:at + BATCH])
            logits, more = net.several(x, edges, rows)
            loss = functional.cross_entropy(logits, y)
            optimiser.zero_grad()
            (loss + 0.1 * more).backward()
            nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optimiser.step()
            schedule.step()
            total += loss.item() / (len(order) // BATCH)
        with torch.no_grad():
            logits = net.eval().several(rest[0], rest[1], rest[3])[0]
        right.append((logits.argmax(1) == rest[2]).float().mean().item())
        curves["training"].append(total)
        curves["test fold"].append(functional.cross_entropy(logits, rest[2]).item())
        weights.append(copy.deepcopy(net.state_dict()))
    return net, weights, right, curves


def main():
    args, graphs, split = tu.arguments(__file__, "PROTEINS")
    nets, rights = [], []
    for i, (some, test) in enumerate(split):
        recipe.set_seed(args.seed)
        net, weights, right, curves = train(graphs, some, test)
        if i == 0:
            recipe.plot_loss(args.out / "loss.png", curves, "cross-entropy")
        nets.append((net, weights))
        rights.append(right)
        print(f"{TASK} fold {i + 1} trained: last epoch {100 * right[-1]:.2f}", file=sys.stderr, flush=True)
    mean = np.mean(rights, 0)
    best = int(mean.argmax())
    print(f"paper: {PAPER}; last epoch {100 * mean[-1]:.2f}; best epoch {best + 1}: {100 * mean[best]:.2f}")
    for net, weights in nets:
        net.load_state_dict(weights[best])
    own = args.out / "1" / "model.onnx"
    tu.measure(TASK, [net for net, _ in nets], graphs, split, own)
    print(serving.show_call(own, TASK, CALL))


if __name__ == "__main__":
    main()

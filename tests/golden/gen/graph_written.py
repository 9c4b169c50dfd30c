"""graph_written.py - graph networks as people write them: edges unpacked or flipped, degrees by hand, inputs of any name,
axes that no two inputs name alike.

usage: graph_written.py FOLDER [NAME...]. Graphs have duplicate edges, self-loops and isolated nodes, some have no edges,
one has one node; the answers are PyTorch's. tests/unit/engine/test_fuse.c says what must be left of them."""

import pathlib
import shutil
import sys
import zlib

import numpy as np
import onnx
import torch
import torch_geometric.nn as g
from onnx import numpy_helper
from strip import strip
from torch import nn
from torch.nn import functional

IN, WIDE, OUT, KIND = 5, 6, 3, 2
SIZES = ((7, 12), (1, 0), (5, 0), (1, 2), (12, 30))


def add(rows, target, like):
    return torch.zeros_like(like).scatter_add(0, target.unsqueeze(-1).expand_as(rows), rows)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(IN, WIDE), nn.Linear(WIDE, OUT)


class Unpacked(Two):
    def forward(self, feats, links):
        source, target = links
        h = self.a(feats).relu()
        return self.b(add(h[source], target, h))


class Weights(Two):
    """Degrees by hand; the root divided by its degree."""

    def forward(self, feats, links, strength):
        source, target = links
        degree = torch.zeros_like(feats[:, 0]).scatter_add(0, target, strength)
        root = degree.clamp(min=1e-6).rsqrt()
        factor = (root[source] * strength * root[target])[:, None]
        h = self.a(feats)
        h = torch.relu(add(factor * h[source], target, h) + h / degree.clamp(min=1)[:, None])
        h = self.b(h)
        return add(h[source] * factor, target, h)


class Both(nn.Module):
    """Unpacked by the caller and indexed by a layer: one list of edges."""

    def __init__(self):
        super().__init__()
        self.a, self.b = g.GraphConv(IN, WIDE), nn.Linear(WIDE, OUT)

    def forward(self, feats, links):
        source, target = links.unbind(0)
        h = self.a(feats, links).relu()
        return self.b(add(h[source], target, h))


class Flipped(nn.Module):
    """Each edge in both directions."""

    def __init__(self):
        super().__init__()
        self.a, self.b = g.GraphConv(IN, WIDE), g.GraphConv(WIDE, OUT)

    def forward(self, feats, links):
        links = torch.cat([links, links.flip(0)], 1)
        return self.b(self.a(feats, links).relu(), links)


class Attention(nn.Module):
    """Scores from both ends and from the edge."""

    def __init__(self):
        super().__init__()
        self.a = g.GATv2Conv(IN, 3, heads=2, edge_dim=KIND, add_self_loops=False)
        self.encode, self.b = nn.Linear(KIND, KIND), nn.Linear(6, OUT)

    def forward(self, feats, links, kind):
        return self.b(functional.elu(self.a(feats, links, self.encode(kind).relu())))


class Cell(nn.Module):
    """Two steps of a GRU of graph convolutions."""

    def __init__(self):
        super().__init__()
        kind = {"add_self_loops": False}
        self.gates, self.new = g.GCNConv(IN + WIDE, 2 * WIDE, **kind), g.GCNConv(IN + WIDE, WIDE, **kind)

    def forward(self, series, links, strength, memory):
        for x in series:
            u, r = torch.sigmoid(self.gates(torch.cat([x, memory], 1), links, strength)).chunk(2, 1)
            n = torch.tanh(self.new(torch.cat([x, r * memory], 1), links, strength))
            memory = u * memory + (1 - u) * n
        return memory


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = g.SAGEConv(IN, WIDE), nn.Linear(WIDE, OUT)

    def forward(self, feats, links, owner):
        return self.b(g.global_mean_pool(self.a(feats, links).relu(), owner))


class Started(nn.Module):
    """A sum for each graph that starts from numbers of the model's own."""

    def __init__(self):
        super().__init__()
        self.a = g.SAGEConv(IN, OUT)
        self.register_buffer("first", torch.arange(3.0 * OUT).reshape(3, OUT) - 4)

    def forward(self, feats, links, owner):
        rows = self.a(feats, links)
        return self.first.scatter_add(0, owner.unsqueeze(-1).expand_as(rows), rows)


class Series(nn.Module):
    """Several inputs on one graph, batched before the nodes."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = g.GCNConv(IN, WIDE), g.GraphConv(WIDE, WIDE), g.SAGEConv(WIDE, OUT)

    def forward(self, series, links, strength):
        return self.c(self.b(self.a(series, links, strength).relu(), links, strength).relu(), links)


class Stacks(nn.Module):
    """Several sets of weights for one input."""

    def __init__(self):
        super().__init__()
        self.a = g.ARMAConv(IN, OUT, num_stacks=3, num_layers=2)

    def forward(self, feats, links, strength):
        return self.a(feats, links, strength)


class Pairs(nn.Module):
    """A score for each pair of nodes: rows that are as long as there are nodes."""

    def __init__(self):
        super().__init__()
        self.a = g.GCNConv(IN, OUT)

    def forward(self, feats, links):
        z = self.a(feats, links)
        return z @ z.T


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = g.TransformerConv(IN, 4, heads=2)
        self.b = g.TransformerConv(8, OUT, heads=1, concat=False, beta=True, edge_dim=KIND)

    def forward(self, feats, links, kind):
        return self.b(self.a(feats, links).relu(), links, kind)


class Product(nn.Module):
    """A matrix for each edge."""

    def __init__(self):
        super().__init__()
        self.a = g.NNConv(IN, OUT, nn.Linear(KIND, IN * OUT))

    def forward(self, feats, links, kind):
        return self.a(feats, links, kind)


class Degrees(nn.Module):
    """Weights by the number of edges: rows are chosen and put back for each number."""

    def __init__(self):
        super().__init__()
        self.a, self.b = g.MFConv(IN, WIDE, max_degree=3), nn.Linear(WIDE, OUT)

    def forward(self, feats, links):
        return self.b(self.a(feats, links).relu())


class Laplacian(nn.Module):
    """L = D - A: the loops' values are taken out, changed and put back."""

    def __init__(self):
        super().__init__()
        self.a = g.ChebConv(IN, OUT, 3, normalization=None)

    def forward(self, feats, links):
        return self.a(feats, links, lambda_max=torch.tensor(7.0))


NETS = {"split": (Unpacked, ("ts", "dyn")), "weights": (Weights, ("ts",)), "both": (Both, ("ts",)), "flip": (Flipped, ("dyn",)),
        "attention": (Attention, ("ts",)), "cell": (Cell, ("ts",)), "pool": (Pooled, ("dyn",)),
        "start": (Started, ("ts",)), "pairs": (Pairs, ("ts",)),
        "transformer": (Transformer, ("ts", "dyn")), "bmm": (Product, ("ts",)), "degrees": (Degrees, ("ts",)),
        "laplacian": (Laplacian, ("ts",)), "series": (Series, ("ts", "dyn")), "stacks": (Stacks, ("ts", "dyn"))}


# what follows a registered graph goes by these names (tests/conformance/follow_cases.c)
KNOWN = {"feats": "x", "links": "edge_index", "strength": "edge_weight", "kind": "edge_attr", "owner": "batch"}


def inputs(net, rng, n, e):
    """The last node is isolated where there are several."""
    links = rng.integers(0, max(n - 1, 1), (2, e))
    if e > 3:
        links[:, 1], links[1, 2] = links[:, 0], links[0, 2]
    owner = np.sort(rng.integers(0, 3, n))
    owner[-1] = 2 if n > 1 else 0
    every = {"feats": lambda: rng.standard_normal((n, IN)), "series": lambda: rng.standard_normal((2, n, IN)),
             "links": lambda: links, "strength": lambda: rng.random(e) + 0.1, "kind": lambda: rng.standard_normal((e, KIND)),
             "owner": lambda: owner, "memory": lambda: rng.standard_normal((n, WIDE))}
    names = net.forward.__code__.co_varnames[1:net.forward.__code__.co_argcount]
    made = {k: every[k]() for k in names}
    return {k: v.astype(np.float32 if v.dtype == np.float64 else np.int64) for k, v in made.items()}


def export(net, example, path, way, names):
    args = tuple(torch.from_numpy(v) for v in example.values())
    axes = [1 if k in ("links", "series") else 0 for k in example]
    if way == "ts":  # a list: each axis gets a name of its own
        torch.onnx.export(net, args, path, dynamo=False, opset_version=18, input_names=names, output_names=["y"],
                          dynamic_axes={k: [a] for k, a in zip(names, axes)})
    else:
        program = torch.onnx.export(net, args, dynamo=True, opset_version=18, input_names=names, output_names=["y"],
                                    dynamic_shapes=tuple({a: torch.export.Dim.DYNAMIC} for a in axes),
                                    verbose=False)
        onnx.save(program.model_proto, path)
    onnx.save(strip(onnx.load(path)), path)


def main():
    root = pathlib.Path(sys.argv[1])
    for name, (make, ways) in NETS.items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        for way in ways:
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            torch.manual_seed(3)
            net = make().eval()
            folder = root / f"graph_written_{name}_{way}18"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            example = inputs(net, rng, 6, 9)
            names = [k if name == "split" else KNOWN.get(k, k) for k in example]
            export(net, example, str(folder / "model.onnx"), way, names)
            for t, (n, e) in enumerate(SIZES):
                case = inputs(net, rng, n, e)
                with torch.no_grad():
                    y = net(*(torch.from_numpy(v) for v in case.values())).numpy()
                test = folder / f"test_data_set_{t}"
                test.mkdir()
                for i, (k, v) in enumerate(zip([*names, "y"], [*case.values(), y])):
                    file = test / ("output_0.pb" if k == "y" else f"input_{i}.pb")
                    file.write_bytes(numpy_helper.from_array(np.ascontiguousarray(v), k).SerializeToString())
            print(folder.name, flush=True)


main()

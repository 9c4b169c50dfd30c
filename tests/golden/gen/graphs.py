"""graphs.py - graph networks of PyTorch Geometric through both exporters, with PyTorch's answers on random graphs.

usage: graphs.py FOLDER [SEED [NAME...]]. Graphs have duplicate edges, self-loops and isolated nodes; some have no edges, some
one node. Where the exported file, run by ONNX Runtime, disagrees with PyTorch (the exporter's fault: recurd runs the
file as it is written), the answer is ONNX Runtime's, and the name is printed."""

import logging
import pathlib
import shutil
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import torch_geometric.nn as g
from onnx import numpy_helper
from strip import strip
from torch import nn

F_IN, F_OUT = 6, 4
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


class Layers(nn.Module):
    """Two layers of a kind with a ReLU between them."""

    def __init__(self, make, width=8):
        super().__init__()
        self.a, self.b = make(F_IN, width), make(width, F_OUT)

    def forward(self, x, edge_index, *more):
        return self.b(torch.relu(self.a(x, edge_index, *more)), edge_index, *more)


class Gin(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = g.GINConv(nn.Sequential(nn.Linear(F_IN, 8), nn.ReLU(), nn.Linear(8, F_OUT)), train_eps=True)

    def forward(self, x, edge_index):
        return self.a(x, edge_index)


class Gat(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.a, self.b = kind(F_IN, 4, heads=3), kind(12, F_OUT, heads=2, concat=False)

    def forward(self, x, edge_index):
        return self.b(torch.nn.functional.elu(self.a(x, edge_index)), edge_index)


class IndexAdd(nn.Module):
    """Sums by index_add: dynamo=False writes a scatter that overwrites, whatever the opset."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(F_IN, F_OUT)

    def forward(self, x, edge_index):
        h = self.a(x)
        return torch.zeros_like(h).index_add(0, edge_index[1], h[edge_index[0]])


class Pool(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.a, self.pool, self.out = g.GraphConv(F_IN, 8), pool, nn.Linear(8, F_OUT)

    def forward(self, x, edge_index, batch):
        return self.out(self.pool(torch.relu(self.a(x, edge_index)), batch))


class SortPool(nn.Module):
    """DGCNN's pooling: the k last rows by the last channel, padded with zeros."""

    def __init__(self):
        super().__init__()
        self.a, self.pool, self.out = g.GraphConv(F_IN, 5), g.SortAggregation(k=4), nn.Linear(20, F_OUT)

    def forward(self, x, edge_index, batch):
        return self.out(self.pool(torch.tanh(self.a(x, edge_index)), batch))


class TopK(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.pool, self.b = g.GraphConv(F_IN, 8), g.TopKPooling(8, ratio=0.5), g.GraphConv(8, F_OUT)

    def forward(self, x, edge_index, batch):
        x, edge_index, _, batch, _, _ = self.pool(torch.relu(self.a(x, edge_index)), edge_index, None, batch)
        return self.b(x, edge_index)


class DiffPool(nn.Module):
    """Dense DiffPool of one graph: the adjacency is made from the edges."""

    def __init__(self):
        super().__init__()
        self.embed, self.assign = g.DenseSAGEConv(F_IN, 8), g.DenseSAGEConv(F_IN, 3)
        self.after, self.out = g.DenseSAGEConv(8, 8), nn.Linear(8, F_OUT)

    def forward(self, x, adj):
        z, s = torch.relu(self.embed(x, adj)), self.assign(x, adj)
        x, adj, _, _ = g.dense_diff_pool(z, adj, s)
        return self.out(torch.relu(self.after(x, adj)).mean(1))


class Spectral(nn.Module):
    """x * g = U g(L) U^T x: the basis and the eigenvalues come with the request."""

    def __init__(self):
        super().__init__()
        self.filter = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, F_IN))
        self.out = nn.Linear(F_IN, F_OUT)

    def forward(self, x, basis, values):
        return self.out(torch.tanh(basis @ (self.filter(values.unsqueeze(1)) * (basis.T @ x))))


class Gae(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Layers(g.GCNConv)

    def forward(self, x, edge_index, pairs):
        z = self.net(x, edge_index)
        return torch.sigmoid((z[pairs[0]] * z[pairs[1]]).sum(1))


class Tgcn(nn.Module):
    """A GRU cell whose gates are graph convolutions (T-GCN; GConvGRU with one hop)."""

    def __init__(self):
        super().__init__()
        self.gates, self.new = g.GCNConv(F_IN + 5, 10), g.GCNConv(F_IN + 5, 5)

    def forward(self, x, edge_index, edge_weight, h):
        u, r = torch.sigmoid(self.gates(torch.cat([x, h], 1), edge_index, edge_weight)).chunk(2, 1)
        n = torch.tanh(self.new(torch.cat([x, r * h], 1), edge_index, edge_weight))
        return u * h + (1 - u) * n


NETS = {
    "gcn": (lambda: Layers(g.GCNConv), ""),
    "gcn_w": (lambda: Layers(g.GCNConv), "w"),
    "gcn_plain": (lambda: Layers(lambda i, o: g.GCNConv(i, o, add_self_loops=False)), ""),
    "index_add": (IndexAdd, ""),
    "graphconv": (lambda: Layers(g.GraphConv), ""),
    "graphconv_w": (lambda: Layers(g.GraphConv), "w"),
    "sage_mean": (lambda: Layers(g.SAGEConv), ""),
    "sage_max": (lambda: Layers(lambda i, o: g.SAGEConv(i, o, aggr="max")), ""),
    "gin": (Gin, ""),
    "gat": (lambda: Gat(g.GATConv), ""),
    "gatv2": (lambda: Gat(g.GATv2Conv), ""),
    "cheb": (lambda: Layers(lambda i, o: g.ChebConv(i, o, K=3)), ""),
    "sgc": (lambda: Layers(lambda i, o: g.SGConv(i, o, K=2)), ""),
    "rgcn": (lambda: Layers(lambda i, o: g.RGCNConv(i, o, num_relations=3)), "t"),
    "pool_mean": (lambda: Pool(g.global_mean_pool), "b"),
    "pool_max": (lambda: Pool(g.global_max_pool), "b"),
    "pool_add": (lambda: Pool(g.global_add_pool), "b"),
    "sortpool": (SortPool, "b"),
    "topk": (TopK, "b"),
    "diffpool": (DiffPool, "d"),
    "spectral": (Spectral, "s"),
    "gae": (Gae, "p"),
    "tgcn": (Tgcn, "wh"),
}
NAMES = {"w": "edge_weight", "t": "edge_type", "b": "batch", "p": "pairs", "h": "h"}
AXES = {"x": {0: "nodes"}, "edge_index": {1: "edges"}, "edge_weight": {0: "edges"}, "edge_type": {0: "edges"},
        "adj": {1: "nodes", 2: "nodes"}, "laplacian_basis": {0: "nodes", 1: "nodes"},
        "laplacian_values": {0: "nodes"},
        "batch": {0: "nodes"}, "pairs": {1: "pairs"}, "h": {0: "nodes"}}


def inputs(rng, n, e, more):
    """Node n - 1 is isolated where there are several; edges repeat, some are loops."""
    ends = rng.integers(0, max(n - 1, 1), (2, e))
    if e > 3:
        ends[:, 1], ends[1, 2] = ends[:, 0], ends[0, 2]
    made = {"x": rng.standard_normal((n, F_IN)).astype(np.float32), "edge_index": ends.astype(np.int64)}
    if more in ("d", "s"):
        a = np.zeros((n, n), np.float32)
        a[ends[0], ends[1]] = a[ends[1], ends[0]] = 1
        if more == "d":
            return {"x": made["x"][None], "adj": a[None]}
        scale = 1 / np.sqrt(np.maximum(a.sum(1), 1))
        values, basis = np.linalg.eigh(np.eye(n, dtype=np.float32) - scale[:, None] * a * scale)
        return {"x": made["x"], "laplacian_basis": basis.astype(np.float32), "laplacian_values": values.astype(np.float32)}
    for m in more:
        made[NAMES[m]] = {
            "w": lambda: rng.random(e).astype(np.float32) + 0.1, "t": lambda: rng.integers(0, 3, e),
            "b": lambda: np.sort(rng.integers(0, 3, n)), "p": lambda: rng.integers(0, n, (2, 5)),
            "h": lambda: rng.standard_normal((n, 5)).astype(np.float32)}[m]()
        if m == "b":
            made["batch"][-1] = 2 if n > 1 else 0
    return made


def export(net, example, path, way, opset):
    args = tuple(torch.from_numpy(v) for v in example.values())
    names = list(example)
    if way == "ts":
        torch.onnx.export(net, args, path, dynamo=False, opset_version=opset, input_names=names, output_names=["y"],
                          dynamic_axes={k: AXES[k] for k in names})
    else:
        shapes = tuple({a: torch.export.Dim.DYNAMIC for a in AXES[k]} for k in names)
        program = torch.onnx.export(net, args, dynamo=True, opset_version=opset, input_names=names,
                                    output_names=["y"], dynamic_shapes=shapes, verbose=False)
        onnx.save(strip(program.model_proto), path)


def save(path, name, array):
    path.write_bytes(numpy_helper.from_array(array, name).SerializeToString())


def write(folder, net, cases):
    session = onnxruntime.InferenceSession((folder / "model.onnx").read_bytes())
    taken = {i.name for i in session.get_inputs()}
    n, note = 0, ""
    for case in cases:
        with torch.no_grad():
            want = net(*(torch.from_numpy(v) for v in case.values())).numpy()
        try:
            ran = session.run(None, {k: v for k, v in case.items() if k in taken})[0]
        except Exception:  # the file cannot do this graph: neither can we
            note += " refused"
            continue
        if ran.shape != want.shape or not np.allclose(ran, want, rtol=1e-4, atol=1e-5 * max(1, np.abs(want).max())):
            want, note = ran, note + " differs"
        test = folder / f"test_data_set_{n}"
        test.mkdir()
        for i, (k, v) in enumerate((k, v) for k, v in case.items() if k in taken):
            save(test / f"input_{i}.pb", k, v)
        save(test / "output_0.pb", "y", want)
        n += 1
    return n, note


def main():
    root, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for name, (make, more) in NETS.items():
        if len(sys.argv) > 3 and name not in sys.argv[3:]:
            continue
        for way, opset in (("ts", 16), ("ts", 18), ("dyn", 18)):
            rng = np.random.default_rng(seed)
            torch.manual_seed(seed)
            net = make().eval()
            folder = root / f"graph_{name}_{way}{opset}"
            folder.mkdir(parents=True)
            try:
                AXES["x"] = {1: "nodes"} if more == "d" else {0: "nodes"}
                export(net, inputs(rng, 6, 9, more), str(folder / "model.onnx"), way, opset)
                cases = [inputs(rng, n, e, more) for n, e in ((7, 12), (1, 0), (5, 0), (1, 2), (12, 30))]
                n, note = write(folder, net, cases)
                if n == 0:
                    raise RuntimeError("ONNX Runtime refuses every graph")
            except Exception as e:  # an exporter that cannot is a fact to be told
                shutil.rmtree(folder)
                print(f"{folder.name}: no file: {str(e).strip().splitlines()[0][:110]}", flush=True)
                continue
            print(f"{folder.name}: {n} graphs{note}", flush=True)


main()

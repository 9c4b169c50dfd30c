"""planetoid.py - what the recipes on the citation graphs share: data, training by the papers' protocols, export, and
the measurement of every seed as recurd serves it, over HTTP with the graph registered once.

The fixed split of the papers: 20 labelled nodes a class, 500 for validation, 1000 for the test; features with rows
that sum to 1. Selection by validation only. The data (ind.NAME.x and so on) is read from --data.
"""
import copy
import http.client
import json
import pathlib
import pickle
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch_geometric.nn as layers
from torch import nn
from torch.nn import functional

import recipe

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEEDS = 10
OPSET = 18  # before 16, exporters lose duplicate edges


def read(folder, name):
    """x f32 [nodes, features], labels, edge_index i64 [2, edges] (both directions), masks."""
    def part(kind):
        with open(folder / f"ind.{name}.{kind}", "rb") as f:
            return pickle.load(f, encoding="latin1")

    test = np.loadtxt(folder / f"ind.{name}.test.index", dtype=np.int64)
    known, tail = part("allx"), part("tx")
    n = max(test.max() + 1, known.shape[0])
    x, y = np.zeros((n, known.shape[1]), np.float32), np.zeros((n, part("ally").shape[1]), np.float32)
    x[:known.shape[0]], y[:known.shape[0]] = known.toarray(), part("ally")
    x[test], y[test] = tail.toarray(), part("ty")
    x /= np.maximum(x.sum(1, keepdims=True), 1)
    edges = {(a, b) for a, others in part("graph").items() for b in others if a != b}
    edges |= {(b, a) for a, b in edges}
    index = torch.tensor(sorted(edges), dtype=torch.int64).T.contiguous()
    n_train = part("y").shape[0]
    parts = {"train": np.arange(n_train), "val": np.arange(n_train, n_train + 500), "test": np.sort(test)}
    return torch.from_numpy(x), torch.from_numpy(y.argmax(1)), index, {
        k: torch.from_numpy(v) for k, v in parts.items()}


class TwoLayers(nn.Module):
    def __init__(self, first, second, act, drop):
        super().__init__()
        self.first, self.second, self.act, self.drop = first, second, act, drop

    def forward(self, x, edge_index):
        x = functional.dropout(x, self.drop, self.training)
        x = self.act(self.first(x, edge_index))
        return self.second(functional.dropout(x, self.drop, self.training), edge_index)


class GraphAutoEncoder(nn.Module):
    """Kipf and Welling 2016: a GCN encoder; a pair's score is the product of its embeddings."""

    def __init__(self, n_features):
        super().__init__()
        self.encoder = TwoLayers(layers.GCNConv(n_features, 32), layers.GCNConv(32, 16), functional.relu, 0)

    def forward(self, x, edge_index, pairs):
        z = self.encoder(x, edge_index)
        return (z.index_select(0, pairs[0]) * z.index_select(0, pairs[1])).sum(1)


def gcn(n_in, n_out):
    return TwoLayers(layers.GCNConv(n_in, 16), layers.GCNConv(16, n_out), functional.relu, 0.5)


def cheb(n_in, n_out):
    return TwoLayers(layers.ChebConv(n_in, 16, K=3), layers.ChebConv(16, n_out, K=3), functional.relu, 0.5)


def gat(n_in, n_out):
    return TwoLayers(layers.GATConv(n_in, 8, heads=8, dropout=0.6),
                     layers.GATConv(64, n_out, heads=1, concat=False, dropout=0.6), functional.elu, 0.6)


# name: data, network, learning rate, weight decay of the first and the second layer, epochs, patience, paper's figure
TASKS = {
    "gcn-cora": ("cora", gcn, 0.01, (5e-4, 0), 400, 100, 81.5),
    "gcn-citeseer": ("citeseer", gcn, 0.01, (5e-4, 0), 400, 100, 70.3),
    "cheb-cora": ("cora", cheb, 0.01, (5e-4, 0), 400, 100, 81.2),
    "gat-cora": ("cora", gat, 0.005, (5e-4, 5e-4), 600, 100, 83.0),
    "gae-cora": ("cora", None, 0.01, (0, 0), 200, 200, 91.0),
}


def fit(net, groups, rate, epochs, patience, loss, validate):
    """Adam; the weights with the best validate() (a tuple, larger is better) are put back."""
    best, age, weights = None, 0, None
    optimiser = torch.optim.Adam(groups, lr=rate)
    for _ in range(epochs):
        net.train()
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        net.eval()
        with torch.no_grad():
            score = validate()
        age += 1
        if best is None or score > best:
            best, age, weights = score, 0, copy.deepcopy(net.state_dict())
        if age >= patience:
            break
    net.load_state_dict(weights)
    net.eval()


def classify(task, x, y, index, parts):
    _, make, rate, decay, epochs, patience, _ = TASKS[task]
    net = make(x.shape[1], int(y.max()) + 1)

    def validate():
        out = net(x, index)[parts["val"]]
        right = (out.argmax(1) == y[parts["val"]]).float().mean().item()
        return right, -functional.cross_entropy(out, y[parts["val"]]).item()

    fit(net, [{"params": net.first.parameters(), "weight_decay": decay[0]},
              {"params": net.second.parameters(), "weight_decay": decay[1]}], rate, epochs, patience,
        lambda: functional.cross_entropy(net(x, index)[parts["train"]], y[parts["train"]]), validate)
    return net


def split_links(index, n, rng):
    """5 % of the edges for validation, 10 % for the test, as many pairs without an edge; the rest both ways."""
    once = index[:, index[0] < index[1]].numpy()
    once = once[:, rng.permutation(once.shape[1])]
    have = set(map(tuple, index.T.tolist()))

    def none(k):
        pairs = set()
        while len(pairs) < k:
            a, b = map(int, rng.integers(0, n, 2))
            if a != b and (a, b) not in have and (b, a) not in pairs:
                pairs.add((a, b))
        return np.array(sorted(pairs)).T

    n_val, n_test = once.shape[1] // 20, once.shape[1] // 10
    val, test, train = once[:, :n_val], once[:, n_val:n_val + n_test], once[:, n_val + n_test:]
    return {"train": torch.from_numpy(np.concatenate([train, train[::-1]], 1)).contiguous(),
            "val": (val, none(n_val)), "test": (test, none(n_test))}


def auc(scores, n_edges):
    """Part of the (edge, no edge) pairs in which the edge has the larger score."""
    order = scores.argsort(kind="stable")
    rank = np.empty(len(scores))
    rank[order] = np.arange(1, len(scores) + 1)
    others = len(scores) - n_edges
    return (rank[:n_edges].sum() - n_edges * (n_edges + 1) / 2) / (n_edges * others)


def link(task, x, index, seed):
    _, _, rate, _, epochs, patience, _ = TASKS[task]
    rng = np.random.default_rng(seed)
    parts = split_links(index, x.shape[0], rng)
    net, edges = GraphAutoEncoder(x.shape[1]), parts["train"]
    val = torch.from_numpy(np.concatenate(parts["val"], 1))

    def loss():
        other = torch.from_numpy(rng.integers(0, x.shape[0], tuple(edges.shape)))
        score = net(x, edges, torch.cat([edges, other], 1))
        want = torch.cat([torch.ones(edges.shape[1]), torch.zeros(edges.shape[1])])
        return functional.binary_cross_entropy_with_logits(score, want)

    fit(net, [{"params": net.parameters()}], rate, epochs, patience, loss,
        lambda: (auc(net(x, edges, val).numpy(), parts["val"][0].shape[1]),))
    return net, parts


def export(net, args, names, axes, path, output):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(net, args, str(path), dynamo=False, opset_version=OPSET, input_names=names,
                      output_names=[output], dynamic_axes=axes)


# ---- the server ----------------------------------------------------------------------------------


class Server:
    """recurd over a folder of models, on a free port of this machine."""

    def __init__(self, models):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.process = subprocess.Popen([ROOT / "build/release/recurd", "--models", models, "--listen",
                                         f"127.0.0.1:{self.port}", "--server-max-body", "256M"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                if self.call("GET", "/v2/health/ready")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit("recurd is not ready")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def call(self, method, path, body=None, headers=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        c.request(method, path, body, headers or {})
        r = c.getresponse()
        answer = r.read()
        c.close()
        return r.status, answer, r.headers

    def send(self, method, path, tensors, params):
        """Tensors as binary; the answer's first output as an array."""
        head, blobs = [], b""
        for name, t in tensors.items():
            data = np.ascontiguousarray(t).tobytes()
            kind = {"float32": "FP32", "int64": "INT64"}[t.dtype.name]
            head.append({"name": name, "datatype": kind, "shape": list(t.shape),
                         "parameters": {"binary_data_size": len(data)}})
            blobs += data
        text = json.dumps({"inputs": head, "parameters": params}).encode()
        status, answer, headers = self.call(method, path, text + blobs,
                                            {"Inference-Header-Content-Length": str(len(text))})
        if status not in (200, 201):
            raise SystemExit(f"{path}: {status} {answer[:300]}")
        size = int(headers.get("Inference-Header-Content-Length") or 0)
        if size == 0:
            return None
        shape = json.loads(answer[:size])["outputs"][0]["shape"]
        return np.frombuffer(answer[size:], np.float32).reshape(shape)


def served(server, seed, model, task, x, y, index, parts):
    """(figure over HTTP, largest difference to PyTorch) of one seed."""
    links = task.startswith("gae")
    edges = parts["train"] if links else index
    server.send("PUT", f"/v2/graphs/g{seed}", {"x": x.numpy(), "edge_index": edges.numpy()}, {})
    more = {"pairs": np.concatenate(parts["test"], 1)} if links else {}
    got = server.send("POST", f"/v2/models/s{seed}/infer", more, {"graph": f"g{seed}", "binary_data_output": True})
    with torch.no_grad():
        want = model(x, edges, *(torch.from_numpy(v) for v in more.values())).numpy()
    far = float(np.abs(got - want).max() / np.abs(want).max())
    if links:
        return 100 * auc(got, parts["test"][0].shape[1]), far
    right = got.argmax(1)[parts["test"].numpy()] == y.numpy()[parts["test"].numpy()]
    return 100 * right.mean(), far


def main(script):
    task = pathlib.Path(script).resolve().parent.name
    data, _, _, _, _, _, paper = TASKS[task]
    args = recipe.arguments(f"Train {task} with {SEEDS} seeds, measured as recurd serves it.",
                            f"folder with ind.{data}.x, .graph, ...", script)
    x, y, index, parts = read(args.data, data)
    axes = {"x": {0: "nodes"}, "edge_index": {1: "edges"}}
    figures, far = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        nets = []
        for seed in range(args.seed, args.seed + SEEDS):
            recipe.set_seed(seed)
            if task.startswith("gae"):
                net, its = link(task, x, index, seed)
                example, names = (x, its["train"], its["train"][:, :4]), ["x", "edge_index", "pairs"]
                own, output = dict(axes, pairs={1: "pairs"}, score={0: "pairs"}), "score"
            else:
                net, its = classify(task, x, y, index, parts), parts
                example, names, own, output = (x, index), ["x", "edge_index"], dict(axes, logits={0: "nodes"}), "logits"
            path = pathlib.Path(folder) / f"s{seed}" / "1" / "model.onnx"
            export(net, example, names, own, path, output)
            if seed == args.seed:
                export(net, example, names, own, args.out / "1" / "model.onnx", output)
            nets.append((seed, net, its))
            print(f"seed {seed} trained", file=sys.stderr, flush=True)
        with Server(folder) as server:
            for seed, net, its in nets:
                figure, away = served(server, seed, net, task, x, y, index, its)
                figures.append(figure)
                far = max(far, away)
                print(f"seed {seed}: {figure:.2f}", file=sys.stderr, flush=True)
    report = (f"| {task} | {paper:.1f} | {np.mean(figures):.2f} +- {np.std(figures):.2f} | "
              f"{' '.join(f'{f:.1f}' for f in figures)} | {far:.1e} |")
    print("| task | paper | over HTTP, mean of ten seeds | seeds | largest relative difference to PyTorch |")
    print(report)

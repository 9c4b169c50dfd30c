"""planetoid.py - what the recipes on the citation graphs share: data, training by the papers' protocols, export, and
the measurement of every seed as recurd serves it, over HTTP with the graph registered once.

The fixed split of the papers: 20 labelled nodes a class, 500 for validation, 1000 for the test; features with rows
that sum to 1. Selection by validation only. The data (ind.NAME.x and so on) is read from --data.

While training, the first layer sees the words of each paper as a list, not as a row that is nearly all zeros; its
other half, and all that is exported, is PyTorch Geometric's.
"""
import copy
import pathlib
import pickle
import sys
import tempfile

import numpy as np
import torch
import torch_geometric.nn as layers
from torch import nn
from torch.nn import functional

import recipe
import serving

SEEDS = 10
OPSET = 18  # before 16, exporters lose duplicate edges


class Unpickler(pickle.Unpickler):
    """A pickle may call anything: these files are allowed what they need."""

    def find_class(self, module, name):
        if (module, name) not in {("scipy.sparse.csr", "csr_matrix"), ("collections", "defaultdict"),
                                  ("numpy.core.multiarray", "_reconstruct"), ("numpy", "dtype"), ("numpy", "ndarray"),
                                  ("__builtin__", "list")}:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in this data")
        return super().find_class(module, name)


def read(folder, name):
    """x f32 [nodes, features], labels, edge_index i64 [2, edges] (both directions), masks."""
    def part(kind):
        with open(folder / f"ind.{name}.{kind}", "rb") as f:
            return Unpickler(f, encoding="latin1").load()

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


class Words:
    """The rows of x as lists of their entries that are not 0."""

    def __init__(self, x):
        rows, self.index = x.nonzero(as_tuple=True)
        self.value = x[rows, self.index]
        self.start = torch.searchsorted(rows, torch.arange(x.shape[0]))

    def times(self, weight, drop):
        """dropout(x) @ weight.T; a zero that is dropped stays a zero."""
        return functional.embedding_bag(self.index, weight.T, self.start, mode="sum",
                                        per_sample_weights=functional.dropout(self.value, drop, drop > 0))


def first_layer(conv, words, drop, edge_index):
    """conv(dropout(x), edge_index): its linear part on the words, the rest as it is."""
    if isinstance(conv, layers.ChebConv):  # K = 3; sums over neighbours commute with the linear part
        one = torch.ones(edge_index.shape[1])
        degree = torch.zeros(len(words.start)).index_add_(0, edge_index[0], one).clamp(min=1).rsqrt()
        norm = -degree[edge_index[0]] * degree[edge_index[1]]
        # one mask for all three parts, as the layer drops its input once
        z0, z1, z2 = words.times(torch.cat([lin.weight for lin in conv.lins]), drop).chunk(3, 1)
        twice = conv.propagate(edge_index, x=z2, norm=norm)
        z1 = conv.propagate(edge_index, x=z1 + 2 * twice, norm=norm)
        return z0 - z2 + z1 + conv.bias
    lin = conv.lin
    conv.lin = nn.Identity()
    try:
        return conv(words.times(lin.weight, drop), edge_index)
    finally:
        conv.lin = lin


class TwoLayers(nn.Module):
    def __init__(self, first, second, act, drop):
        super().__init__()
        self.first, self.second, self.act, self.drop = first, second, act, drop

    def forward(self, x, edge_index):
        """x: a tensor, or Words."""
        drop = self.drop if self.training else 0
        if isinstance(x, Words):
            x = first_layer(self.first, x, drop, edge_index)
        else:
            x = self.first(functional.dropout(x, drop, self.training), edge_index)
        return self.second(functional.dropout(self.act(x), drop, self.training), edge_index)


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
    "gcn-pubmed": ("pubmed", gcn, 0.01, (5e-4, 0), 400, 100, 79.0),
    "cheb-cora": ("cora", cheb, 0.01, (5e-4, 0), 400, 100, 81.2),
    "gat-cora": ("cora", gat, 0.005, (5e-4, 5e-4), 2000, 100, 83.0),
    "gae-cora": ("cora", None, 0.01, (0, 0), 200, 200, 91.0),
}


def larger(best, figure, loss):
    """The largest figure counts, of equal ones that with the least loss: (new best, is it these weights, go on)."""
    better = figure > best[0] or figure == best[0] and loss < best[1]
    return (figure, loss) if better else best, better, better


def both(best, figure, loss):
    """As the authors of GAT stop: weights are kept when neither figure nor loss is worse than ever before, and patience
    is lost only while both are."""
    no_worse = figure >= best[0], loss <= best[1]
    return (max(figure, best[0]), min(loss, best[1])), all(no_worse), any(no_worse)


def fit(net, groups, rate, epochs, patience, loss, validate, judge=larger):
    """Adam; the weights that are best on the validation part are put back: validate() returns (figure, loss) of it,
    `judge` says which are best. Returned are the losses of each epoch."""
    best, age, weights = (-1.0, float("inf")), 0, None
    curves = {"training": [], "validation": []}
    optimiser = torch.optim.Adam(groups, lr=rate)
    for _ in range(epochs):
        net.train()
        optimiser.zero_grad()
        now = loss()
        now.backward()
        optimiser.step()
        net.eval()
        with torch.no_grad():
            figure, held_out = validate()
        curves["training"].append(now.item())
        curves["validation"].append(held_out)
        age += 1
        best, keep, goes_on = judge(best, figure, held_out)
        weights = copy.deepcopy(net.state_dict()) if keep else weights
        age = 0 if goes_on else age
        if age >= patience:
            break
    net.load_state_dict(weights)
    net.eval()
    return curves


def classify(task, x, y, index, parts):
    _, make, rate, decay, epochs, patience, _ = TASKS[task]
    net, words = make(x.shape[1], int(y.max()) + 1), Words(x)

    def validate():
        out = net(words, index)[parts["val"]]
        right = (out.argmax(1) == y[parts["val"]]).float().mean().item()
        loss = functional.cross_entropy(out, y[parts["val"]]).item()
        return right, loss

    groups = [{"params": net.first.parameters(), "weight_decay": decay[0]},
              {"params": net.second.parameters(), "weight_decay": decay[1]}]
    return net, fit(net, groups, rate, epochs, patience, lambda: functional.cross_entropy(
        net(words, index)[parts["train"]], y[parts["train"]]), validate, both if make is gat else larger)


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


def entropy(score, n_edges):
    """Cross-entropy of scores, edges first."""
    return functional.binary_cross_entropy_with_logits(score, (torch.arange(len(score)) < n_edges).float())


def link(task, x, index, seed):
    _, _, rate, _, epochs, patience, _ = TASKS[task]
    rng = np.random.default_rng(seed)
    parts = split_links(index, x.shape[0], rng)
    net, edges, words = GraphAutoEncoder(x.shape[1]), parts["train"], Words(x)
    val = torch.from_numpy(np.concatenate(parts["val"], 1))

    def loss():
        other = torch.from_numpy(rng.integers(0, x.shape[0], tuple(edges.shape)))
        return entropy(net(words, edges, torch.cat([edges, other], 1)), edges.shape[1])

    def validate():
        score, n_edges = net(words, edges, val), parts["val"][0].shape[1]
        return auc(score.numpy(), n_edges), entropy(score, n_edges).item()

    return net, parts, fit(net, [{"params": net.parameters()}], rate, epochs, patience, loss, validate)


def export(net, args, names, axes, path, output):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(net, args, str(path), dynamo=False, opset_version=OPSET, input_names=names,
                      output_names=[output], dynamic_axes=axes)


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


CALL = """
import json
words = [[3, 17, 80], [3, 1200], [80, 81, 82, 83], [17]]
x = [[1 / len(w) if i in w else 0 for i in range(%d)] for w in words]
tensors = {"x": ("FP32", [4, %d], sum(x, [])), "edge_index": ("INT64", [2, 6], [0, 1, 1, 2, 0, 3, 1, 0, 2, 1, 3, 0])%s}
print(json.dumps({"inputs": [{"name": n, "datatype": t, "shape": s, "data": d} for n, (t, s, d) in tensors.items()]}))
"""  # four papers, the words that they use, who cites whom (both directions)
PAIRS = """,
           "pairs": ("INT64", [2, 2], [0, 1, 2, 3])"""


def train(task, seed, x, y, index, parts):
    """(network, what split it saw, curves, its inputs {name: tensor}, its dynamic axes, its output) of one seed."""
    recipe.set_seed(seed)
    axes = {"x": {0: "nodes"}, "edge_index": {1: "edges"}}
    if task.startswith("gae"):
        net, its, curves = link(task, x, index, seed)
        inputs = {"x": x, "edge_index": its["train"], "pairs": its["train"][:, :4]}
        return net, its, curves, inputs, dict(axes, pairs={1: "pairs"}, score={0: "pairs"}), "score"
    net, curves = classify(task, x, y, index, parts)
    return net, parts, curves, {"x": x, "edge_index": index}, dict(axes, logits={0: "nodes"}), "logits"


def main(script):
    task = pathlib.Path(script).resolve().parent.name
    data, _, _, _, _, _, paper = TASKS[task]
    args = recipe.arguments(f"Train {task} with some seeds, measured as recurd serves it.",
                            f"folder with ind.{data}.x, .graph, ...", script, seeds=SEEDS)
    x, y, index, parts = read(args.data, data)
    figures, far, own = [], 0.0, args.out / "1" / "model.onnx"
    with tempfile.TemporaryDirectory() as folder:
        nets = []
        for seed in range(args.seed, args.seed + args.seeds):
            net, its, curves, inputs, axes, output = train(task, seed, x, y, index, parts)
            for path in [pathlib.Path(folder) / f"s{seed}" / "1" / "model.onnx", *([own] if not nets else [])]:
                export(net, tuple(inputs.values()), list(inputs), axes, path, output)
            if not nets:
                recipe.plot_loss(args.out / "loss.png", curves, "cross-entropy")
            nets.append((seed, net, its))
            print(f"seed {seed} trained", file=sys.stderr, flush=True)
        with serving.Server(folder) as server:
            for seed, net, its in nets:
                figure, away = served(server, seed, net, task, x, y, index, its)
                figures.append(figure)
                far = max(far, away)
                print(f"seed {seed}: {figure:.2f}", file=sys.stderr, flush=True)
    print(f"| task | paper | over HTTP, mean of {len(figures)} | seeds | largest relative difference to PyTorch |")
    print(f"| {task} | {paper:.1f} | {np.mean(figures):.2f} ± {np.std(figures):.2f} | "
          f"{' '.join(f'{f:.1f}' for f in figures)} | {far:.1e} |\n")
    n = x.shape[1]
    print(serving.show_call(own, task, CALL % (n, n, PAIRS if task.startswith("gae") else "")))

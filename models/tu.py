"""tu.py - what the recipes that classify graphs share: data, batches, and ten folds measured as recurd serves them.

The data is read from --data: NAME.txt, which for each graph has a line "nodes label" and then for each node "tag
degree neighbours...", and NAME_10fold_idx with the numbers of the graphs in each fold (the form of the DGCNN authors).
A node's features are its tag, one-hot, and what the recipe adds.
"""
import pathlib
import sys
import tempfile

import numpy as np
import torch

import recipe
import serving

OPSET = 18


class Graphs:
    """All graphs as one, nodes of a graph in a row: first[g]..first[g + 1] are its nodes, edges likewise."""

    def __init__(self, path):
        lines = iter(path.read_text().splitlines())
        nodes, edges, tags, source, target, labels = [0], [0], [], [], [], []
        for _ in range(int(next(lines))):
            n, label = map(int, next(lines).split())
            labels.append(label)
            for i in range(n):
                tag, _, *others = map(int, next(lines).split())
                tags.append(tag)
                source += [nodes[-1] + j for j in others]
                target += [nodes[-1] + i] * len(others)
            nodes.append(nodes[-1] + n)
            edges.append(len(source))
        self.first, self.first_edge = np.array(nodes), np.array(edges)
        self.edges = np.array([source, target])
        self.tags = np.array(tags)
        self.x = np.eye(max(tags) + 1, dtype=np.float32)[self.tags]
        kinds = sorted(set(labels))
        self.y = np.array([kinds.index(label) for label in labels])
        self.sizes = np.diff(self.first)

    def __len__(self):
        return len(self.y)

    def one(self, g):
        """x [nodes, features], edge_index [2, edges] of graph g."""
        a, b = self.first[g:g + 2]
        return (torch.from_numpy(self.x[a:b]),
                torch.from_numpy(self.edges[:, self.first_edge[g]:self.first_edge[g + 1]] - a))

    def batch(self, some, least=0):
        """x, edge_index, y of several graphs side by side, and rows [graphs, widest]: the places of each graph's
        nodes, filled up with the number of nodes (a row that is not there). `least`: of the width."""
        some = np.asarray(some)
        sizes = self.sizes[some]
        start = np.concatenate([[0], np.cumsum(sizes)])
        x = np.concatenate([self.x[self.first[g]:self.first[g + 1]] for g in some])
        edges = np.concatenate([self.edges[:, self.first_edge[g]:self.first_edge[g + 1]] + (s - self.first[g])
                                for g, s in zip(some, start)], 1)
        place = np.arange(max(sizes.max(), least))
        rows = np.where(place < sizes[:, None], start[:-1, None] + place, start[-1])
        return tuple(map(torch.from_numpy, (x, edges, self.y[some], rows)))


def folds(folder, name):
    """[(numbers of the training graphs, of the test graphs)] of the ten folds."""
    def read(kind, i):
        return np.loadtxt(folder / f"{name}_10fold_idx" / f"{kind}_idx-{i}.txt", dtype=np.int64)
    return [(read("train", i), read("test", i)) for i in range(1, 11)]


def export(net, graphs, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(net.eval(), graphs.one(0), str(path), dynamo=False, opset_version=OPSET,
                      input_names=["x", "edge_index"], output_names=["logits"],
                      dynamic_axes={"x": {0: "nodes"}, "edge_index": {1: "edges"}})


def served(server, model, net, graphs, some):
    """(graphs that recurd puts into the right class, largest difference to PyTorch), a graph to a request."""
    right, far = 0, 0.0
    for g in some:
        x, edges = graphs.one(g)
        got = server.send("POST", f"/v2/models/{model}/infer", {"x": x.numpy(), "edge_index": edges.numpy()},
                          {"binary_data_output": True})
        with torch.no_grad():
            far = max(far, float((net(x, edges) - torch.from_numpy(got.copy())).abs().max()))
        right += int(got.argmax() == graphs.y[g])
    return right, far


def measure(task, nets, graphs, split, own):
    """Serve the networks of the folds, one model each; print and return the accuracies in %. The network of the first
    fold is written to `own`."""
    figures, far = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        for i, net in enumerate(nets):
            export(net, graphs, pathlib.Path(folder) / f"fold{i + 1}" / "1" / "model.onnx")
        export(nets[0], graphs, own)
        with serving.Server(folder) as server:
            for i, (net, (_, test)) in enumerate(zip(nets, split)):
                right, away = served(server, f"fold{i + 1}", net, graphs, test)
                figures.append(100 * right / len(test))
                far = max(far, away)
                print(f"{task} fold {i + 1}: {figures[-1]:.2f}", file=sys.stderr, flush=True)
    print(f"| {task} | {np.mean(figures):.2f} ± {np.std(figures):.2f} | {' '.join(f'{f:.1f}' for f in figures)} | "
          f"{far:.1e} |")
    return figures


def arguments(script, name):
    """The command line; the graphs, the folds that --folds asks for, and the rest of the arguments."""
    args = recipe.arguments(f"Train {pathlib.Path(script).resolve().parent.name} on the folds, measured as recurd "
                            "serves it.", f"folder with {name}.txt and {name}_10fold_idx", script, folds=10)
    return args, Graphs(args.data / f"{name}.txt"), folds(args.data, name)[:args.folds]

"""train.py - which of four communities does a member of the karate club belong to? A GCN that was told one member of
each. The graph (Zachary 1977: 34 members, 78 friendships) ships with PyTorch Geometric; it is written beside the model
as CSV, so that the server can be shown a graph at once."""
import argparse
import csv
import pathlib
import sys
import tempfile

import numpy as np
import torch
import torch_geometric.nn as layers
from torch.nn import functional
from torch_geometric.datasets import KarateClub

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import planetoid  # noqa: E402
import recipe  # noqa: E402
import serving  # noqa: E402

SEEDS, EPOCHS = 10, 200
CALL = """
import csv, json
rows = lambda name: list(csv.reader(open("models/karate/" + name)))[1:]
at = {r[0]: i for i, r in enumerate(rows("nodes.csv"))}
x = [int(v) for r in rows("nodes.csv") for v in r[1:]]
ends = [(at[a], at[b]) for s, t in rows("edges.csv") for a, b in ((s, t), (t, s))]
print(json.dumps({"inputs": [
  {"name": "x", "datatype": "FP32", "shape": [34, 34], "data": x},
  {"name": "edge_index", "datatype": "INT64", "shape": [2, len(ends)], "data": [e for side in zip(*ends) for e in side]}]}))
"""


def train(data, seed):
    recipe.set_seed(seed)
    net = planetoid.TwoLayers(layers.GCNConv(34, 16), layers.GCNConv(16, 4), functional.relu, 0.5)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4)
    curves = {"4 members that are told": [], "30 others": []}
    for _ in range(EPOCHS):
        net.train()
        optimiser.zero_grad()
        out = net(data.x, data.edge_index)
        loss = functional.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            out = net.eval()(data.x, data.edge_index)
        for name, some in zip(curves, (data.train_mask, ~data.train_mask)):
            curves[name].append(functional.cross_entropy(out[some], data.y[some]).item())
    return net.eval(), curves


def write_tables(data):
    once = [(int(a), int(b)) for a, b in data.edge_index.T.tolist() if a < b]
    with open(HERE / "edges.csv", "w", newline="") as f:
        csv.writer(f, lineterminator="\n").writerows([("source", "target"), *((f"m{a}", f"m{b}") for a, b in once)])
    with open(HERE / "nodes.csv", "w", newline="") as f:
        rows = [("id", *(f"is_m{i}" for i in range(34)))]
        rows += [(f"m{i}", *map(int, data.x[i].tolist())) for i in range(34)]
        csv.writer(f, lineterminator="\n").writerows(rows)


def main():
    parser = argparse.ArgumentParser(prog="train.py (karate)", description="Train the bundled graph model.")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"default: {SEEDS}")
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    (HERE / "1").mkdir(exist_ok=True)
    data = KarateClub()[0]
    others, figures = ~data.train_mask.numpy(), []
    axes = {"x": {0: "nodes"}, "edge_index": {1: "edges"}, "logits": {0: "nodes"}}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, seeds + 1):
            net, curves = train(data, seed)
            args = (data.x, data.edge_index)
            planetoid.export(net, args, ["x", "edge_index"], axes,
                             pathlib.Path(folder) / f"s{seed}" / "1" / "model.onnx", "logits")
            if seed == 1:
                planetoid.export(net, args, ["x", "edge_index"], axes, HERE / "1" / "model.onnx", "logits")
                recipe.plot_loss(HERE / "loss.png", curves, "cross-entropy")
        with serving.Server(folder) as server:
            server.send("PUT", "/v2/graphs/karate", {"x": data.x.numpy(), "edge_index": data.edge_index.numpy()}, {})
            for seed in range(1, seeds + 1):
                got = server.send("POST", f"/v2/models/s{seed}/infer", {},
                                  {"graph": "karate", "binary_data_output": True})
                figures.append(100 * (got.argmax(1) == data.y.numpy())[others].mean())
    write_tables(data)
    (HERE / "1" / "labels.txt").write_text("\n".join(f"community {i}" for i in range(4)) + "\n")
    print(f"accuracy on the 30 members that were not told, over HTTP, mean of {seeds} seeds: "
          f"{np.mean(figures):.1f} % ± {np.std(figures):.1f} ({' '.join(f'{f:.1f}' for f in figures)})\n")
    print(serving.show_call(HERE / "1" / "model.onnx", "karate", CALL))


if __name__ == "__main__":
    main()

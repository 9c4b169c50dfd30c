"""train.py - how fast will traffic be in 5, 10 and 15 minutes? A T-GCN over the loop detectors of Los Angeles.

T-GCN (Zhao et al. 2019, arXiv 1811.05320) is a GRU whose gates see each detector's neighbours through one graph
convolution. The network is a step: a speed per detector and the state go in, forecasts and the next state come out,
so that it follows a stream in a session. As in the authors' code the first 80 % of the week are for training, a forecast
is made from 12 measurements, and the error is over all three horizons. Three things differ: the output is a change of
the last measured speed, a training sequence is longer than 12 steps (each step from the 12th on is a forecast), and the
number of updates was chosen on the last tenth of the training part, where the authors take the best epoch of the test.
"""
import gzip
import pathlib
import sys
import tempfile

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_geometric.utils import scatter

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import recipe  # noqa: E402
import serving  # noqa: E402

HORIZON, PAST = 3, 12  # steps of 5 minutes
HIDDEN, SCALE = 32, 10.0  # miles per hour
SEEDS, TRAINING = 10, 0.8
LENGTH, BATCH, UPDATES, RATE, DECAY, CLIP = 18, 16, 150, 1e-2, 1e-4, 1.0
EVERY = 25  # updates from one point of the picture to the next
PAPER = 5.1264
MODEL_JSON = """{
  "description": "Speeds at %d loop detectors of Los Angeles in 5, 10 and 15 minutes, T-GCN with a state per detector",
  "state": [{ "input": "h", "output": "h_next" }],
  "warmup": [{ "speed": { "shape": [%d, 1] }, "edge_index": { "shape": [2, 8] }, "edge_weight": { "shape": [8] },
               "h": { "shape": [%d, 32] } }]
}
"""
CALL = """
import json
n = 207
ends = [(i, j) for i in range(n) for j in (i - 1, i, i + 1) if 0 <= j < n]
speed = [65 - 40 * (80 <= i < 100) for i in range(n)]
tensors = {"speed": ("FP32", [n, 1], speed), "edge_index": ("INT64", [2, len(ends)], [e[k] for k in (0, 1) for e in ends]),
           "edge_weight": ("FP32", [len(ends)], [1 if a == b else 0.5 for a, b in ends]), "h": ("FP32", [n, 32], [0] * n * 32)}
print(json.dumps({"inputs": [{"name": n, "datatype": t, "shape": s, "data": d} for n, (t, s, d) in tensors.items()],
                  "outputs": [{"name": "forecast"}]}))
"""


class Tgcn(nn.Module):
    """u, r = sigmoid(W [x, Ax, h, Ah] + b); n = tanh(W' [x, Ax, rh, A(rh)] + b'); h' = u h + (1 - u) n."""

    def __init__(self, mean):
        super().__init__()
        self.read = nn.Linear(2, 3 * HIDDEN)
        self.gates = nn.Linear(2 * HIDDEN, 2 * HIDDEN, bias=False)
        self.new = nn.Linear(2 * HIDDEN, HIDDEN, bias=False)
        self.out = nn.Linear(HIDDEN, HORIZON)
        self.register_buffer("mean", torch.tensor(mean))

    def cell(self, read, h, near):
        """read [rows, 3 HIDDEN]: what the input says; near(v): the weighted sum over neighbours of h [rows, HIDDEN]."""
        gates = torch.sigmoid(read[:, :2 * HIDDEN] + self.gates(torch.cat([h, near(h)], 1)))
        u, r = gates[:, :HIDDEN], gates[:, HIDDEN:] * h
        n = torch.tanh(read[:, 2 * HIDDEN:] + self.new(torch.cat([r, near(r)], 1)))
        return n + u * (h - n)

    def sequence(self, speed, matrix):
        """speed [nodes, batch, time] -> forecasts after each step [nodes, batch, time, HORIZON]; zero state first."""
        n, b, t = speed.shape

        def near(v):
            return torch.mm(matrix, v.view(n, -1)).view(v.shape)

        x = ((speed - self.mean) / SCALE).permute(2, 0, 1).reshape(t, n * b)
        x = torch.stack([x, torch.stack([near(step) for step in x])], 2)
        h, states = speed.new_zeros(n * b, HIDDEN), []
        for read in self.read(x):
            h = self.cell(read, h, near)
            states.append(h)
        change = self.out(torch.stack(states)).view(t, n, b, HORIZON).permute(1, 2, 0, 3)
        return speed.unsqueeze(3) + SCALE * change

    def forward(self, speed, edge_index, edge_weight, h):
        """speed [nodes, 1], h [nodes, HIDDEN] -> forecast [nodes, HORIZON], h."""
        source, target = edge_index[0], edge_index[1]
        root = scatter(edge_weight, target, 0, speed.shape[0]).rsqrt()
        weight = (edge_weight * root.index_select(0, source) * root.index_select(0, target)).unsqueeze(1)

        def near(v):
            return scatter(v.index_select(0, source) * weight, target, 0, speed.shape[0])

        x = (speed - self.mean) / SCALE
        h = self.cell(self.read(torch.cat([x, near(x)], 1)), h, near)
        return speed + SCALE * self.out(h), h


def read(folder):
    """speeds f32 [detectors, time], edge_index [2, edges], edge_weight [edges]; each detector has an edge to itself."""
    path = folder / "los_speed.csv"
    opened = path.open() if path.exists() else gzip.open(folder / "los_speed.csv.gz", "rt")
    with opened as f:
        speed = np.loadtxt(f, np.float32, delimiter=",", skiprows=1).T
    matrix = np.loadtxt(folder / "los_adj.csv", np.float32, delimiter=",")
    np.fill_diagonal(matrix, np.maximum(matrix.diagonal(), 1))
    target, source = matrix.T.nonzero()  # row by row of targets
    return (torch.from_numpy(np.ascontiguousarray(speed)), torch.from_numpy(np.stack([source, target])),
            torch.from_numpy(matrix[source, target]))


def normalised(n, edge_index, edge_weight):
    """D^-1/2 A D^-1/2."""
    root = torch.zeros(n).index_add_(0, edge_index[1], edge_weight).rsqrt()
    weight = edge_weight * root[edge_index[0]] * root[edge_index[1]]
    return torch.zeros(n, n).index_put_((edge_index[1], edge_index[0]), weight)


def windows(speed, length):
    """[windows, nodes, length] of all places: the last HORIZON steps of each are what is to be forecast."""
    return speed.unfold(1, length, 1).permute(1, 0, 2)


def rmse(forecast, truth):
    return (forecast - truth).square().mean().sqrt().item()


def evaluate(net, speed, matrix):
    """RMSE of forecasts from PAST steps each."""
    cases = windows(speed, PAST + HORIZON)[:-1]  # the authors leave the last one out
    with torch.no_grad():
        got = [net.eval().sequence(part[:, :, :PAST].transpose(0, 1), matrix)[:, :, -1] for part in cases.split(64)]
    return rmse(torch.cat(got, 1).transpose(0, 1), cases[:, :, PAST:])


def train(speed, matrix, updates, watch=None):
    """A network from `speed` [nodes, time]; RMSE every so many updates, of `watch` as well, for the picture."""
    net = Tgcn(speed.mean().item())
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, updates, pct_start=0.2)
    places, curves, recent = windows(speed, LENGTH + HORIZON), {"training": [], "test": []}, []
    for update in range(1, updates + 1):
        some = places[torch.randint(len(places), (BATCH,))]
        got = net.train().sequence(some[:, :, :LENGTH].transpose(0, 1), matrix)[:, :, PAST - 1:].transpose(0, 1)
        truth = some.unfold(2, HORIZON, 1)[:, :, PAST:LENGTH + 1]
        loss = functional.mse_loss(got, truth)
        optimiser.zero_grad()
        (loss / SCALE ** 2).backward()
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        recent.append(loss.item())
        if update % EVERY == 0:
            curves["training"].append(float(np.mean(recent)) ** 0.5)
            recent = []
            if watch is not None:
                curves["test"].append(evaluate(net, watch, matrix))
                print(f"update {update}: {curves['training'][-1]:.3f} {curves['test'][-1]:.3f}", file=sys.stderr,
                      flush=True)
    return net.eval(), curves


def export(net, graph, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    n = int(graph["edge_index"].max()) + 1
    inputs = {"speed": torch.full((n, 1), 60.0), **graph, "h": torch.zeros(n, HIDDEN)}
    torch.onnx.export(net.eval(), tuple(inputs.values()), str(path), dynamo=False, opset_version=18,
                      input_names=list(inputs), output_names=["forecast", "h_next"],
                      dynamic_axes={"edge_index": {1: "edges"}, "edge_weight": {0: "edges"}})
    (path.parent.parent / "model.json").write_text(MODEL_JSON % (n, n, n))


def served(server, model, net, matrix, speed):
    """(RMSE over HTTP of forecasts from PAST steps each, of one session that reads all steps, largest difference to
    PyTorch in miles per hour). Every window is a session: PAST requests with a speed per detector."""
    def step(session, at, first):
        return server.send("POST", f"/v2/models/{model}/infer", {"speed": speed[:, at:at + 1].numpy()},
                           {"graph": "los", "sequence_id": session, "sequence_start": first == at,
                            "sequence_end": at == first + PAST - 1 and session > 1, "binary_data_output": True})

    n = speed.shape[1] - PAST - HORIZON  # the authors leave the last window out
    truth = windows(speed[:, PAST:], HORIZON)[:n].numpy()
    short = np.stack([[step(2 + i, at, i) for at in range(i, i + PAST)][-1] for i in range(n)])
    long = np.stack([step(1, at, 0) for at in range(PAST + n - 1)][PAST - 1:])
    with torch.no_grad():
        want = net.sequence(speed[:, :PAST].unsqueeze(1), matrix)[:, 0, -1].numpy()

    def error(got):
        return float(np.sqrt(np.square(got - truth).mean()))
    return error(short), error(long), float(np.abs(short[0] - want).max())


def main():
    args = recipe.arguments(__doc__.splitlines()[0], "folder with los_speed.csv (or .csv.gz) and los_adj.csv", __file__,
                            seeds=SEEDS)
    speed, edge_index, edge_weight = read(args.data)
    graph = {"edge_index": edge_index, "edge_weight": edge_weight}
    matrix = normalised(len(speed), edge_index, edge_weight)
    cut = int(speed.shape[1] * TRAINING)
    past, test = speed[:, :cut], speed[:, cut:]
    last = windows(test, PAST + HORIZON)[:-1]
    print(f"the last speed again: RMSE {rmse(last[:, :, PAST - 1:PAST], last[:, :, PAST:]):.3f}; "
          f"paper {PAPER} (its best epoch of the test)")
    nets, figures = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.seed, args.seed + args.seeds):
            recipe.set_seed(seed)
            net, curves = train(past, matrix, UPDATES, None if nets else test)
            export(net, graph, pathlib.Path(folder) / f"s{seed}" / "1" / "model.onnx")
            if not nets:
                export(net, graph, args.out / "1" / "model.onnx")
                recipe.plot_loss(args.out / "loss.png", curves, "RMSE, miles per hour",
                                 [("paper, test", PAPER)], f"updates, {EVERY} each")
            nets.append((seed, net))
            print(f"seed {seed} trained", file=sys.stderr, flush=True)
        with serving.Server(folder) as server:
            server.send("PUT", "/v2/graphs/los", {k: v.numpy() for k, v in graph.items()}, {})
            for seed, net in nets:
                figures.append(served(server, f"s{seed}", net, matrix, test))
                print("seed %d: %.3f, as one stream %.3f" % (seed, *figures[-1][:2]), file=sys.stderr, flush=True)
    short, stream, far = np.array(figures).T
    for name, each in (("12 measurements", short), ("one stream", stream)):
        print(f"| {name} | {each.mean():.3f} ± {each.std():.3f} | {' '.join(f'{f:.2f}' for f in each)} |")
    print(f"largest difference to PyTorch: {far.max():.1e} miles per hour\n")
    print(serving.show_call(args.out / "1" / "model.onnx", "tgcn-losloop", CALL))


if __name__ == "__main__":
    main()

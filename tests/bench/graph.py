"""graph.py - GCN and GAT over a whole graph: recurd's engine against PyTorch Geometric and ONNX Runtime, in turns.

Graphs: one of Cora's size, with features as sparse as Cora's words (a case of its own) and with dense ones, and one of
169,343 nodes and 1,166,243 edges (both directions added, 128 features, hidden 256, 3 layers, 40 classes; power-law
degrees), made from a seed. Medians of the rounds, one thread and two. Figures for recurd: `all`, everything is new, edges
are sorted and degrees counted; `kept`, edges and the number of nodes are bound, the features are new. PyTorch Geometric
with its edges as a sparse matrix, as an edge index and as a sorted one, with torch.compile where that works, the
normalisation cached. What takes four times the fastest peer's time in its first run is measured in that run alone. The
sparse product by itself against reading memory; changes of single edges, followed with exact results; graphs as large as
molecules over HTTP. Modes: --quick for the small graphs only; or what to measure: names of graphs, gcn, gat, threads=N,
sums, changes, molecules (all without)."""

import json
import pathlib
import statistics
import subprocess
import sys
import time
import warnings

warnings.simplefilter("ignore")  # exporters and sparse tensors warn at each turn; differences are measured and printed
sys.path.insert(0, str(pathlib.Path(__file__).parent / "rig"))
import molecules  # noqa: E402
import programs  # noqa: E402

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
import torch_geometric.nn as layers  # noqa: E402
from torch_geometric import EdgeIndex  # noqa: E402
from torch_geometric.utils import to_torch_csr_tensor  # noqa: E402

GRAPHS = {"cora-words": (2708, 5278, 1433, 16, 2, 7), "cora-size": (2708, 5278, 1433, 16, 2, 7),
          "arxiv-size": (169343, 1166243, 128, 256, 3, 40)}
WORDS = 0.0127  # of Cora's features are not zero; each row adds up to one
SLOW = 4
SEED, BUDGET_S = 1, 40
LARGE = 3e9  # bytes of one value; several are alive, and the machine has some 20 GB


class Net(torch.nn.Module):
    def __init__(self, kind, n_in, hidden, n_layers, n_out, cached=False):
        super().__init__()
        made, width = [], n_in
        for i in range(n_layers):
            last = i + 1 == n_layers
            if kind == "gcn":
                made.append(layers.GCNConv(width, n_out if last else hidden, cached=cached))
                width = hidden
            else:
                made.append(layers.GATConv(width, n_out if last else max(hidden // 8, 2), heads=1 if last else 8))
                width = 8 * max(hidden // 8, 2)
        self.layers = torch.nn.ModuleList(made)

    def forward(self, x, edge_index):
        for i, layer in enumerate(self.layers):
            x = layer(torch.relu(x) if i else x, edge_index)
        return x


def graph(name):
    """Ends by a power law; both directions."""
    nodes, edges, features = GRAPHS[name][:3]
    rng = np.random.default_rng(SEED)
    weight = (np.arange(nodes) + 10.0) ** -0.8
    ends = rng.choice(nodes, (2, edges), p=weight / weight.sum())
    ends = rng.permutation(nodes)[ends]
    index = np.concatenate([ends, ends[::-1]], 1).astype(np.int64)
    if name == "cora-words":
        x = (rng.random((nodes, features)) < WORDS).astype(np.float32)
        x /= np.maximum(x.sum(1, keepdims=True), 1)
    else:
        x = rng.standard_normal((nodes, features)).astype(np.float32)
    return x, np.ascontiguousarray(index)


class Recurd:
    def __init__(self, folder, x, index, threads):
        self.process = subprocess.Popen(
            [programs.RIG / "graph_run", folder / "model.onnx", str(x.shape[0]), str(x.shape[1]), folder / "x.f32",
             str(index.shape[1]), folder / "edges.i64", str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True)
        self.base = int(self.process.stdout.readline().split()[1])

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def timed(f):
    start = time.perf_counter()
    f()
    return 1e3 * (time.perf_counter() - start)


def bandwidth():
    """GB/s of reading, one thread: a sum over memory far larger than any cache."""
    a = torch.ones(1 << 26)
    torch.set_num_threads(1)
    return max(a.numel() * 4 / 1e6 / timed(lambda: a.sum()) for _ in range(5))


def compiled(net, x, edges):
    try:
        fast = torch.compile(net)
        with torch.no_grad():
            fast(x, edges)
        return fast
    except Exception as e:  # a peer that cannot is left out, and said
        programs.say(f"torch.compile: {str(e).strip().splitlines()[0][:100]}")
        return None


def prepare(name, kind):
    """The network, the graph, and the folder that has both as files."""
    nodes, _, n_in, hidden, n_layers, n_out = GRAPHS[name]
    torch.manual_seed(SEED)
    net = Net(kind, n_in, hidden, n_layers, n_out).eval()
    x, index = graph(name)
    folder = programs.folder(f"graph-{name}-{kind}")
    torch.onnx.export(net, (torch.from_numpy(x[:50]), torch.from_numpy(index[:, :0])), str(folder / "model.onnx"),
                      dynamo=False, opset_version=18, input_names=["x", "edge_index"], output_names=["y"],
                      dynamic_axes={"x": {0: "nodes"}, "edge_index": {1: "edges"}, "y": {0: "nodes"}})
    x.tofile(folder / "x.f32")
    index.tofile(folder / "edges.i64")
    return net, x, index, folder


def contestants(name, kind, threads, net, x, index, folder):
    nodes, _, n_in, hidden, n_layers, n_out = GRAPHS[name]
    cached = Net(kind, n_in, hidden, n_layers, n_out, True).eval()
    cached.load_state_dict(net.state_dict())
    tx, ti = torch.from_numpy(x), torch.from_numpy(index)
    torch.set_num_threads(threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    large = 8 * index.shape[1] * hidden > LARGE  # ONNX Runtime and torch.compile spread indices over channels
    session = None if large else onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    recurd = Recurd(folder, x, index, threads)
    run = {"recurd all": lambda: recurd.ask("all"), "recurd kept": lambda: recurd.ask("kept"),
           "pyg edge_index": lambda: timed(lambda: cached(tx, ti))}
    if large:
        programs.say("onnxruntime and torch.compile are left out: they would need more memory than there is")
    else:
        run["onnxruntime"] = lambda: timed(lambda: session.run(None, {"x": x, "edge_index": index}))
    if kind == "gcn":
        sparse = to_torch_csr_tensor(ti, size=(nodes, nodes))  # symmetric: its own transpose
        matrix = Net(kind, n_in, hidden, n_layers, n_out, True).eval()
        matrix.load_state_dict(net.state_dict())
        run["pyg sparse"] = lambda: timed(lambda: matrix(tx, sparse))
        if (x == 0).mean() > 0.9:
            words = tx.to_sparse_csr()
            run["pyg sparse, x too"] = lambda: timed(lambda: matrix(words, sparse))
    sorted_net = Net(kind, n_in, hidden, n_layers, n_out, True).eval()
    sorted_net.load_state_dict(net.state_dict())
    sorted_index = EdgeIndex(ti, sparse_size=(nodes, nodes)).sort_by("col")[0]
    run["pyg sorted index"] = lambda: timed(lambda: sorted_net(tx, sorted_index))
    fast = None if large else compiled(Net(kind, n_in, hidden, n_layers, n_out).eval(), tx, ti)
    if fast is not None:
        run["pyg compiled"] = lambda: timed(lambda: fast(tx, ti))
    with torch.no_grad():
        want = net(tx, ti).numpy()
    recurd.ask(f"save {folder / 'y.f32'}")
    got = np.fromfile(folder / "y.f32", np.float32).reshape(want.shape)
    far = float(np.abs(got - want).max() / np.abs(want).max())
    return recurd, run, far


def compete(name, kind, threads, rows):
    shape = GRAPHS[name]
    net, x, index, folder = prepare(name, kind)
    recurd, run, far = contestants(name, kind, threads, net, x, index, folder)
    times, end = {k: [] for k in run}, time.monotonic() + BUDGET_S
    with torch.no_grad():
        first = {}
        for k, f in list(run.items()):
            try:
                first[k] = f()
            except Exception as e:  # a peer that cannot is left out, and said
                programs.say(f"{k}: {str(e).strip().splitlines()[0][:100]}")
                del run[k], times[k]
        fastest = min(v for k, v in first.items() if not k.startswith("recurd"))
        for k in [k for k, v in first.items() if v > SLOW * fastest and not k.startswith("recurd")]:
            times[k].append(first[k])
            del run[k]
        while time.monotonic() < end and len(times["recurd all"]) < 15 or len(times["recurd all"]) < 3:
            for k, f in run.items():
                times[k].append(f())
    medians = {k: statistics.median(v) for k, v in times.items()}
    best = min((v, k) for k, v in medians.items() if not k.startswith("recurd"))
    peak = recurd.ask("bytes")
    nodes, edges = x.shape[0], index.shape[1]
    base = recurd.base  # of the program with the model, before the graph
    needed = x.nbytes + 4 * (nodes + 2 * (edges + nodes)) + 2 * 4 * nodes * max(shape[3], shape[5])
    rows.append({"graph": name, "model": kind, "threads": threads, "rounds": len(times["recurd all"]), "ms": medians,
                 "best peer": best[1], "ratio all": best[0] / medians["recurd all"],
                 "ratio kept": best[0] / medians["recurd kept"], "difference": far, "peak bytes": peak,
                 "base bytes": base, "peak over features, sorted edges and two layers": (peak - base) / needed})
    recurd.close()
    r = rows[-1]
    others = ", ".join(f"{k} {v:.1f}" for k, v in medians.items() if not k.startswith("recurd"))
    print(f"{name:10} {kind} {threads} thread{'s' if threads > 1 else ' '} {r['ratio all']:5.1f}x {r['ratio kept']:5.1f}x "
          f"all {medians['recurd all']:.1f} kept {medians['recurd kept']:.1f} ms; {others} ms; peak "
          f"{peak / 1e6:.0f} MB ({(peak - base) / needed:.2f} of what is needed); differs {far:.0e}", flush=True)


def follow(name, threads, rows):
    """Changes of single edges (both directions), each followed with exact results, between full runs."""
    shape = GRAPHS[name]
    _, x, index, folder = prepare(name, "gcn")
    process = subprocess.Popen(
        [programs.RIG / "graph_follow", folder / "model.onnx", str(x.shape[0]), str(x.shape[1]), folder / "x.f32",
         str(index.shape[1]), folder / "edges.i64", str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(line):
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    kept = int(process.stdout.readline().split()[1])
    full, changes, followed = [], [], 0
    for _ in range(5):
        full.append(float(ask("full")))
        for change in filter(None, ask(f"change {40 if shape[0] > 10000 else 400}").split(";")):
            ms, is_followed, *dirty = change.split()
            followed += int(is_followed)
            if is_followed == "1":
                changes.append((float(ms), [int(d) for d in dirty]))
    exact = ask("check") == "1"
    process.stdin.close()
    process.wait()
    assert exact, "other bits than a full run"
    ms = [c[0] for c in changes]
    dirty = [statistics.median(d) for d in zip(*(c[1] for c in changes))]
    rows.append({"graph": name, "threads": threads, "changes": len(ms), "ms": statistics.median(ms),
                 "per second": 1e3 * len(ms) / sum(ms), "full ms": statistics.median(full), "dirty rows": dirty,
                 "kept bytes": kept})
    r = rows[-1]
    print(f"{name:10} gcn {threads} thread{'s' if threads > 1 else ' '} {r['per second']:.1f} changes a second, median "
          f"{r['ms']:.2f} ms, all anew {r['full ms']:.1f} ms: {r['full ms'] / r['ms']:.1f}x; rows made anew (median of "
          f"{shape[0]}): degrees {dirty[0]:.0f}, layers {', '.join(f'{d:.0f}' for d in dirty[1:])}; {len(ms)} of {followed} "
          f"followed, all bits equal; {kept / 1e6:.0f} MB kept", flush=True)


def sums(name, rows):
    """The sparse product alone, one thread, against loading the same rows and against reading memory from end to end."""
    shape = GRAPHS[name]
    _, index = graph(name)
    path = programs.OUT / "sums.i64"
    index.tofile(path)
    for width in (shape[2], shape[3]):
        done = subprocess.run([str(programs.RIG / "graph_sums"), str(shape[0]), str(index.shape[1]), path, str(width)],
                              capture_output=True, text=True, check=True)
        r = {"graph": name, "columns": width, **json.loads(done.stdout)}
        rows.append(r)
        print(f"{name:10} sums of {width} columns, 1 thread: {r['sum ms']:.1f} ms, {r['sum GB/s']:.1f} GB/s of rows read, "
              f"{r['moved GB/s']:.1f} with edges and results; the same rows only loaded {r['load GB/s']:.1f} GB/s "
              f"({r['sum GB/s'] / r['load GB/s']:.2f}); from end to end {r['read GB/s']:.1f} GB/s "
              f"({r['sum GB/s'] / r['read GB/s']:.2f}, {r['moved GB/s'] / r['read GB/s']:.2f})", flush=True)


def main():
    asked = [a for a in sys.argv[2:] if a != "--quick"]

    def wanted(*what):
        return all(not set(asked) & set(kind) or w in asked for w, kind in what)

    parts, kinds, counts = ("sums", "changes", "molecules"), ("gcn", "gat"), ("threads=1", "threads=2")
    only = set(asked) & set(parts)
    names = [n for n in GRAPHS if ("--quick" not in sys.argv or n.startswith("cora")) and wanted((n, GRAPHS))]
    rows = []
    print(f"memory is read at {bandwidth():.1f} GB/s by one thread")
    print("graph      model threads  ratio to the best peer: all, kept; then medians")
    for name in names:
        for kind in kinds:
            for threads in (1, 2):
                if wanted((kind, kinds), (f"threads={threads}", counts)) and not only:
                    compete(name, kind, threads, rows)
    for name in names:
        if "arxiv-size" == name and (not asked or "sums" in asked):
            sums(name, rows)
    if not asked or "changes" in asked:
        print("a change of one edge, followed with exact results")
        for name in names:
            for threads in (1, 2):
                if name != "cora-words" and wanted((f"threads={threads}", counts)):
                    follow(name, threads, rows)
    if not asked or "molecules" in asked:
        rows.append(molecules.compete())
    (programs.OUT / "graph.json").write_text(json.dumps(rows, indent=1))


main()

"""graph_fuzz.py - what the exporters make of every layer in graph_layers.py, run by recurd's engine against PyTorch.

usage: graph_fuzz.py RUN_CASES FOLDER [SEED [NAME...]]; WAYS=rx18,dyn18 in the environment: these only
Exports each layer by both exporters (ts16, ts18, dyn18) and by clients/python/recurd_export.py (rx18) and asks RUN_CASES
(build/.../tests/conformance/run_cases) for the answers on random graphs: duplicate edges, loops, isolated nodes, no edges,
one node. One line for each file:

  ok          PyTorch's answers to 1e-5 of the largest value
  no file     the exporter stops
  wrong file  ONNX Runtime does not give PyTorch's answers either (on the graphs named by number)
  RECURD      the file is right and the engine refuses or differs

Exit 1 when there is a RECURD line."""

import logging
import os
import pathlib
import shutil
import subprocess
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from graph_layers import F_EDGE, F_IN, HIDDEN, LAYERS, RELATIONS
from onnx import numpy_helper

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
onnxruntime.set_default_logger_severity(3)
SIZES = ((7, 12), (1, 0), (5, 0), (1, 2), (12, 30), (40, 160))
WAYS = [(w.rstrip("0123456789"), int(w[-2:])) for w in os.environ.get("WAYS", "ts16,ts18,dyn18,rx18").split(",")]
sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "clients" / "python"))
AXES = {"edge_index": {1: "edges"}, "edge_weight": {0: "edges"}, "edge_attr": {0: "edges"}, "edge_type": {0: "edges"},
        "adj": {1: "nodes", 2: "nodes"}, "batch": {0: "nodes"}, "pairs": {1: "pairs"}, "h": {0: "nodes"},
        "author": {0: "authors"}, "cites": {1: "citations"}, "writes": {1: "writings"}, "written": {1: "written"}}


def ends(rng, n_from, n_to, e):
    """The last node is isolated where there are several; edges repeat, some are loops."""
    made = np.stack([rng.integers(0, max(n - 1, 1), e) for n in (n_from, n_to)]).astype(np.int64)
    if e > 3:
        made[:, 1] = made[:, 0]
        made[1, 2] = made[0, 2] if n_from == n_to else made[1, 2]
    return made


def inputs(rng, n, e, more):
    x = rng.standard_normal((n, F_IN)).astype(np.float32)
    edges = ends(rng, n, n, e)
    if more == "D":
        a = np.zeros((n, n), np.float32)
        a[edges[0], edges[1]] = a[edges[1], edges[0]] = 1
        return {"x": x[None], "adj": a[None]}
    if more == "H":
        m = max(n // 2, 1)
        return {"x": x, "author": rng.standard_normal((m, 3)).astype(np.float32), "cites": edges,
                "writes": ends(rng, m, n, e), "written": ends(rng, n, m, e // 2)}
    made = {"x": x, "edge_index": edges}
    for m in more:
        if m == "w":
            made["edge_weight"] = rng.random(e).astype(np.float32) + 0.1
        if m == "a":
            made["edge_attr"] = rng.random((e, F_EDGE)).astype(np.float32)
        if m == "t":
            made["edge_type"] = rng.integers(0, RELATIONS, e)
        if m == "b":
            graphs = 3 if n < 12 else 7  # more than in the example: a number of theirs in the file shows
            made["batch"] = np.sort(rng.integers(0, graphs, n))
            made["batch"][-1] = graphs - 1 if n > 1 else 0
        if m == "p":
            made["pairs"] = rng.integers(0, n, (2, 5))
        if m == "h":
            made["h"] = rng.standard_normal((n, HIDDEN)).astype(np.float32)
    return made


def export(net, example, path, way, opset, outputs):
    args = tuple(torch.from_numpy(v) for v in example.values())
    axes = dict(AXES, x={1: "nodes"} if "adj" in example else {0: "nodes"})
    names = ["y", "y1", "y2"][:outputs]
    if way == "rx":
        import recurd_export
        recurd_export.export(net, args, path, list(example), names, {k: axes[k] for k in example})
        return
    if way == "ts":
        torch.onnx.export(net, args, path, dynamo=False, opset_version=opset, input_names=list(example),
                          output_names=names, dynamic_axes={k: axes[k] for k in example})
        return
    shapes = tuple({a: torch.export.Dim.DYNAMIC for a in axes[k]} for k in example)
    if len(shapes) > 2 and any(p.kind == p.VAR_POSITIONAL for p in
                               __import__("inspect").signature(net.forward).parameters.values()):
        shapes = (shapes[0], shapes[1], shapes[2:])
    program = torch.onnx.export(net, args, dynamo=True, opset_version=opset, input_names=list(example),
                                output_names=names, dynamic_shapes=shapes, verbose=False)
    onnx.save(program.model_proto, path)


def several(y):
    return [v.numpy() for v in (y if isinstance(y, (tuple, list)) else (y,))]


def agree(got, want):
    return all(a.shape == b.shape and np.allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max(initial=0)),
                                                  equal_nan=True) for a, b in zip(got, want))


def write(folder, net, cases):
    """Test sets with PyTorch's answers; numbers of the graphs on which ONNX Runtime gives others."""
    session = onnxruntime.InferenceSession((folder / "model.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    taken, wrong, n = {i.name for i in session.get_inputs()}, [], 0
    for number, case in enumerate(cases):
        try:
            with torch.no_grad():
                want = several(net(*(torch.from_numpy(v) for v in case.values())))
        except Exception:  # PyTorch itself cannot: nothing to compare
            continue
        try:
            ran = session.run(None, {k: v for k, v in case.items() if k in taken})
            good = agree(ran, want)
        except Exception:
            good = False
        if not good:
            wrong.append(number)
        test = folder / f"test_data_set_{n}" if good else folder / f"wrong_{number}" / "test_data_set_0"
        test.mkdir(parents=True)
        for i, k in enumerate(k for k in case if k in taken):
            (test / f"input_{i}.pb").write_bytes(numpy_helper.from_array(case[k], k).SerializeToString())
        for i, v in enumerate(want):
            data = numpy_helper.from_array(np.ascontiguousarray(v), session.get_outputs()[i].name)
            (test / f"output_{i}.pb").write_bytes(data.SerializeToString())
        n += good
    return n, wrong


def engine(run_cases, folder):
    done = subprocess.run([run_cases, str(folder.parent), folder.name], capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stdout.strip().splitlines() or [f"died: {done.returncode}"])[0]


def one(run_cases, root, name, way, opset, seed):
    make, more = LAYERS[name]
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    folder = root / f"{name}_{way}{opset}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        net = make().eval()
        for p in net.parameters():
            if p.dim() < 2:  # biases that are zero would hide what is done to them
                torch.nn.init.uniform_(p, -0.5, 0.5)
        example = inputs(rng, 6, 9, more)
        with torch.no_grad():
            outputs = len(several(net(*(torch.from_numpy(v) for v in example.values()))))
        export(net, example, str(folder / "model.onnx"), way, opset, outputs)
    except Exception as e:
        return "no file", str(e).strip().splitlines()[0][:120] if str(e).strip() else type(e).__name__
    cases = [inputs(rng, n, e, more) for n, e in SIZES]
    try:
        n, wrong = write(folder, net, cases)
    except Exception as e:
        said = engine(run_cases, folder)
        return "wrong file", "ONNX Runtime: " + str(e).strip().splitlines()[0][:90] + ("; recurd: " + said if said else "")
    note = f" wrong on {wrong}" if wrong else ""
    if n == 0:
        return "wrong file", note
    said = engine(run_cases, folder)
    return ("RECURD", said + note) if said else ("wrong file" if wrong else "ok", note)


def main():
    run_cases, root = sys.argv[1], pathlib.Path(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    bad = 0
    for name in LAYERS:
        if len(sys.argv) > 4 and name not in sys.argv[4:]:
            continue
        for way, opset in WAYS:
            r, w = os.pipe()  # a process of its own: exporters keep state
            child = os.fork()
            if child == 0:
                torch.set_num_threads(1)
                os.write(w, "\t".join(one(run_cases, root, name, way, opset, seed)).encode()[:4000])
                os._exit(0)
            os.close(w)
            os.waitpid(child, 0)
            kind, _, said = os.read(r, 4096).decode(errors="replace").partition("\t")
            os.close(r)
            bad += kind in ("RECURD", "")
            print(f"{name}_{way}{opset}: {kind or 'DIED'}{': ' if said else ''}{said}", flush=True)
    sys.exit(1 if bad else 0)


main()

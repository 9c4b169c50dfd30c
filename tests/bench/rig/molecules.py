"""molecules.py - graphs of the size of molecules, a request each, over HTTP: many together against one by one."""

import json
import shutil

import numpy as np
import programs
import workload

MODEL, KINDS, MOLECULES, SECONDS, ROUNDS = "dgcnn-mutag", 7, 64, 2, 5


def molecule(rng):
    """Atoms in a tree with some rings, as large as those of MUTAG; bonds in both directions."""
    atoms = int(rng.integers(10, 29))
    bonds = [(i, int(rng.integers(max(i - 4, 0), i))) for i in range(1, atoms)]
    bonds += [(i, i - 5) for i in range(6, atoms, 6)]
    ends = np.array(bonds, np.int64).T
    x = np.eye(KINDS, dtype=np.float32)[rng.choice(KINDS, atoms, p=[0.7, 0.1, 0.1, 0.04, 0.03, 0.02, 0.01])]
    return x, np.ascontiguousarray(np.concatenate([ends, ends[::-1]], 1))


def request(rng):
    x, index = molecule(rng)
    inputs = [{"name": name, "shape": list(v.shape), "datatype": kind, "parameters": {"binary_data_size": v.nbytes}}
              for name, v, kind in (("x", x, "FP32"), ("edge_index", index, "INT64"))]
    text = json.dumps({"inputs": inputs, "outputs": [{"name": "logits", "parameters": {"binary_data": True}}]},
                      separators=(",", ":")).encode()
    body = text + x.tobytes() + index.tobytes()
    head = (f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
            f"Inference-Header-Content-Length: {len(text)}\r\nContent-Length: {len(body)}\r\n\r\n")
    return head.encode() + body


def rate(server, path, connections):
    result = programs.load(server, path, "--connections", connections, "--seconds", SECONDS, "--warm", 0.3)
    if set(result["statuses"]) != {"200"} or result["lost"]:
        raise SystemExit(f"not all molecules were answered: {result['statuses']}, {result['lost']} lost")
    return result["answered_per_s"]


def compete():
    """Requests per second: batched, one by one (batches of one row) and by one connection; medians of the rounds."""
    models = programs.folder("graph-models")
    shutil.copytree(programs.ROOT / "models" / MODEL, models / MODEL)
    rng = np.random.default_rng(1)
    path = workload.write(programs.OUT / "molecules.load",
                          workload.Class("molecule", 1, [(1, request(rng)) for _ in range(MOLECULES)]))
    seen = {"64 connections, batched": [], "64 connections, one by one": [], "1 connection": []}
    with programs.Recurd("molecules", models) as many, \
            programs.Recurd("molecules-one", models, "--batching-max-rows", "1") as one:
        for _ in range(ROUNDS):
            for name, server, connections in zip(seen, (many, one, many), (64, 64, 1)):
                seen[name].append(rate(server, path, connections))
    row = {"model": MODEL, **{name: programs.median(v) for name, v in seen.items()}}
    batched = row["64 connections, batched"]
    print(f"molecules of 10 to 28 atoms, {MODEL}, requests a second: " + ", ".join(
        f"{name} {row[name]:.0f}" for name in seen) +
        f"; batched {batched / row['64 connections, one by one']:.2f}x one by one", flush=True)
    return row

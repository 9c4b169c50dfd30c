"""graph_cells.py - recurrent graph cells by recurd_export, some steps on one graph: test set t has step t's state as input
and PyTorch's next state as output. And a model of typed nodes and edges, whose inputs have the names of a registered graph's.

usage: graph_cells.py FOLDER"""

import pathlib
import shutil
import sys

import numpy as np
import torch
from graph_layers import F_IN, HIDDEN, LAYERS, TYPES
from onnx import numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "clients" / "python"))
import recurd_export

NODES, STEPS = 6, 4
rng = np.random.default_rng(4)
edges = rng.integers(0, NODES, (2, 14))
edges[:, 3] = edges[:, 2]
weights = (rng.random(14) + 0.1).astype(np.float32)

for name in ("gconvgru", "tgcn", "dcrnn"):
    torch.manual_seed(4)
    net = LAYERS[name][0]().eval()
    folder = pathlib.Path(sys.argv[1]) / f"graph_{name}_rx18"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    h = np.zeros((NODES, HIDDEN), np.float32)
    names = ["x", "edge_index", "edge_weight", "h"]
    for t in range(STEPS):
        case = (rng.standard_normal((NODES, F_IN)).astype(np.float32), edges, weights, h)
        args = [torch.from_numpy(np.ascontiguousarray(v)) for v in case]
        if t == 0:
            recurd_export.export(net, args, folder / "model.onnx", names)
        with torch.no_grad():
            h = net(*args).numpy()
        test = folder / f"test_data_set_{t}"
        test.mkdir()
        for i, (n, v) in enumerate(zip(names, case)):
            (test / f"input_{i}.pb").write_bytes(numpy_helper.from_array(np.ascontiguousarray(v), n).SerializeToString())
        (test / "output_0.pb").write_bytes(numpy_helper.from_array(h, "y").SerializeToString())

torch.manual_seed(4)
net = LAYERS["hetero"][0]().eval()
folder = pathlib.Path(sys.argv[1]) / "graph_hetero_rx18"
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
names = ["paper.x", "author.x"] + [f"{a}.{b}.{c}.edge_index" for a, b, c in TYPES]
axes = {n: {1: n.replace(".", "_")} if n.endswith("edge_index") else {0: n.replace(".", "_")} for n in names}
for t, (papers, authors) in enumerate(((5, 3), (2, 1), (9, 4))):
    counts = {"paper": papers, "author": authors}
    case = [rng.standard_normal((papers, F_IN)).astype(np.float32), rng.standard_normal((authors, 3)).astype(np.float32)]
    case += [np.stack([rng.integers(0, counts[a], 7), rng.integers(0, counts[c], 7)]) for a, _, c in TYPES]
    args = [torch.from_numpy(v) for v in case]
    if t == 0:
        recurd_export.export(net, args, folder / "model.onnx", names, dynamic_axes=axes)
    with torch.no_grad():
        y = net(*args).numpy()
    test = folder / f"test_data_set_{t}"
    test.mkdir()
    for i, (n, v) in enumerate(zip(names, case)):
        (test / f"input_{i}.pb").write_bytes(numpy_helper.from_array(v, n).SerializeToString())
    (test / "output_0.pb").write_bytes(numpy_helper.from_array(y, "y").SerializeToString())

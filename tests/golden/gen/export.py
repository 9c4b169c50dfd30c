"""Exports jobs with the torch of the interpreter that runs it.

usage: export.py TABLE SEED FOLDER JOB...     with JOB = row:exporter:opset
For each job writes FOLDER/<name>/model.onnx and torch.npz (PyTorch's own outputs, `<set>/<i>`),
or FOLDER/<name>.failed with the exporter's words. TABLE is `table` or `random:<count>`.
"""

import os
import sys
import traceback
import warnings

import numpy
import onnx
import torch

import function_order
from draw import draw, row_seed
from network import build
from rows_of import rows_of
from strip import strip


def main(table, seed, folder, jobs):
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    rows = {r.name: r for r in rows_of(table)}
    for job in jobs:
        name, exporter, opset = job.split(":")
        out = os.path.join(folder, f"{name}_{exporter}{opset}")
        # torch.export keeps state between calls: the first export of a GRU in a process leaves the time axis
        # dynamic, the second makes it fixed. A process of its own makes each export the same on every run.
        child = os.fork()
        if child == 0:
            attempt(rows[name], exporter, int(opset), int(seed), out)
            os._exit(0)
        os.waitpid(child, 0)


def attempt(row, exporter, opset, seed, out):
    try:
        export(row, exporter, opset, seed, out)
    except BaseException:
        if os.path.exists(os.path.join(out, "model.onnx")):
            os.remove(os.path.join(out, "model.onnx"))
        with open(out + ".failed", "w") as file:
            file.write(traceback.format_exc())


def export(row, exporter, opset, seed, out):
    os.makedirs(out, exist_ok=True)
    net = build(row, row_seed(row, seed))
    sets = [[torch.from_numpy(a.copy()) for a in draw(row, k, seed).values()] for k in range(len(row.sizes))]
    with torch.no_grad():
        runs = [net.run(*tensors) for tensors in sets]
        names = [name for name, _ in runs[0]]
        path = os.path.join(out, "model.onnx")
        if exporter.startswith("dyn"):
            export_dynamo(row, net, sets[0], names, opset, exporter == "dyn", path)
        else:
            export_traced(row, net, sets[0], names, runs, opset, exporter, path)
    model = strip(onnx.load(path))
    if model.functions:
        function_order.settle(model)
    with open(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    numpy.savez(os.path.join(out, "torch.npz"),
                **{f"{k}/{i}": v.numpy() for k, run in enumerate(runs) for i, (_, v) in enumerate(run)})


def export_traced(row, net, tensors, names, runs, opset, exporter, path):
    axes = {i.name: {k: d for k, d in enumerate(i.dims) if isinstance(d, str)} for i in row.inputs}
    # an output's axis is dynamic when it differs between the test sets
    for i, name in enumerate(names):
        shapes = [tuple(run[i][1].shape) for run in runs]
        if len({len(s) for s in shapes}) == 1:
            axes[name] = {k: f"{name}_{k}" for k in range(len(shapes[0])) if len({s[k] for s in shapes}) > 1}
    options = {"old": {}, "oldfn": {"export_modules_as_functions": True}, "ts": {"dynamo": False}}[exporter]
    torch.onnx.export(net, tuple(tensors), path, opset_version=opset, input_names=[i.name for i in row.inputs],
                      output_names=names, dynamic_axes={k: v for k, v in axes.items() if v}, **options)


def export_dynamo(row, net, tensors, names, opset, optimize, path):
    dims = {}
    shapes = tuple({k: dims.setdefault(d, torch.export.Dim(d)) for k, d in enumerate(i.dims) if isinstance(d, str)}
                   for i in row.inputs)
    torch.onnx.export(net, tuple(tensors), path, opset_version=opset, input_names=[i.name for i in row.inputs],
                      output_names=names, dynamo=True, dynamic_shapes=(shapes,), external_data=False,
                      optimize=optimize, verbose=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])

"""Runs ONNX Runtime on an exported network and writes ONNX's test_data_set_<k> folders."""

import os

import numpy
import onnx
import onnxruntime
from onnx import numpy_helper

from draw import draw

TOLERANCE = 1e-5


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def frozen(row, model):
    """Dims that the row wants dynamic but the exporter made fixed: {"T": 6}."""
    fixed = {}
    declared = {v.name: v.type.tensor_type.shape.dim for v in model.graph.input}
    for item in row.inputs:
        for want, have in zip(item.dims, declared.get(item.name, [])):
            if isinstance(want, str) and have.dim_value:
                fixed[want] = have.dim_value
    return fixed


def difference(got, want):
    """Relative to the largest absolute value, or absolute where that is below 1."""
    if got.shape != want.shape:
        return float("inf")
    if got.dtype.kind not in "f":
        return 0.0 if numpy.array_equal(got, want) else float("inf")
    if got.size == 0:
        return 0.0
    same = (got == want) | (numpy.isnan(got) & numpy.isnan(want))
    with numpy.errstate(invalid="ignore"):
        apart = numpy.where(same, 0.0, numpy.abs(got.astype("float64") - want))
    finite = numpy.abs(want[numpy.isfinite(want)])
    return float(apart.max() / max(1.0, finite.max() if finite.size else 1.0))


def write_sets(row, seed, source, target):
    """Gives what the index tells of the network: sets, difference from PyTorch, dims the exporter froze."""
    path = os.path.join(source, "model.onnx")
    run = session(path)
    torch_out = numpy.load(os.path.join(source, "torch.npz"))
    traced = row.sizes[0]
    declared = frozen(row, onnx.load(path))
    # Some exporters freeze a size inside the graph and still declare it dynamic (torch 1.13: the batch of a packed
    # sequence's zero state; dynamo: the time axis of a time-major LSTM). Then only the traced size can run.
    tries = [[], ["B"], ["T"], ["B", "T"]]
    for attempt, held in enumerate(tries):
        fixed = {**declared, **{d: traced[d] for d in held if d in traced}}
        try:
            return _write_sets(row, seed, run, torch_out, fixed, target)
        except Exception:
            if attempt == len(tries) - 1:
                raise


def _write_sets(row, seed, run, torch_out, fixed, target):
    worst = 0.0
    names = {i.name for i in run.get_inputs()}
    sets = [{n: a for n, a in draw(row, k, seed, fixed).items() if n in names} for k in range(len(row.sizes))]
    answers = [run.run(None, inputs) for inputs in sets]
    for k, (inputs, outputs) in enumerate(zip(sets, answers)):
        _check_finite(outputs)
        folder = os.path.join(target, f"test_data_set_{k}")
        os.makedirs(folder, exist_ok=True)
        for i, item in enumerate(run.get_inputs()):
            _write(os.path.join(folder, f"input_{i}.pb"), inputs[item.name], item.name)
        for i, (item, value) in enumerate(zip(run.get_outputs(), outputs)):
            _write(os.path.join(folder, f"output_{i}.pb"), value, item.name)
            # PyTorch ran with the row's own sizes
            if all(row.sizes[k].get(d, v) == v for d, v in fixed.items()):
                worst = max(worst, difference(value, torch_out[f"{k}/{i}"]))
    return {"torch": worst, "fixed": fixed, "sets": len(sets)}


def _check_finite(outputs):
    for value in outputs:
        if value.dtype.kind == "f" and not numpy.isfinite(value).all():
            raise ValueError("an expected output is not finite")


def _write(path, value, name):
    with open(path, "wb") as file:
        file.write(numpy_helper.from_array(numpy.ascontiguousarray(value).reshape(value.shape), name)
                   .SerializeToString(deterministic=True))

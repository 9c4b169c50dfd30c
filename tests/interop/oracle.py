"""ONNX Runtime's answers to compare with."""

import glob
import os

import numpy
import onnx
import onnxruntime
from onnx import numpy_helper


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def answer(run, inputs):
    """{output: array} for {input: array}."""
    return dict(zip([o.name for o in run.get_outputs()], run.run(None, inputs)))


def sets(folder):
    """The stored test sets of a golden network: ({input: array}, {output: array})."""
    for path in sorted(glob.glob(os.path.join(folder, "test_data_set_*"))):
        yield _tensors(path, "input"), _tensors(path, "output")


def _tensors(folder, kind):
    found = {}
    for k in range(len(glob.glob(os.path.join(folder, kind + "_*.pb")))):
        tensor = onnx.load_tensor(os.path.join(folder, f"{kind}_{k}.pb"))
        found[tensor.name] = numpy_helper.to_array(tensor)
    return found


def made_up_inputs(run, random, sizes):
    """Inputs for a model of unknown meaning: dims that share a name share a size; integers stay small, and
    are numbers of nodes where there are nodes."""
    chosen, inputs = {}, {}
    for item in run.get_inputs():
        dims = [d if isinstance(d, int) else chosen.setdefault(d, random.choice(sizes)) for d in item.shape]
        kind = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64", "tensor(int32)": "int32",
                "tensor(bool)": "bool"}[item.type]
        if kind == "bool":
            inputs[item.name] = numpy.ones(dims, kind)
        elif kind.startswith("int"):
            inputs[item.name] = random.randint(0, min(2, chosen.get("nodes", 2)), dims).astype(kind)
        else:
            inputs[item.name] = random.normal(size=dims).astype(kind)
    return inputs

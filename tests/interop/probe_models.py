"""Small models made for the checks: one Identity per datatype, a sum, a classifier, an accumulator."""

import json
import os

import ml_dtypes
import numpy
import onnx
from onnx import TensorProto, helper

# datatype of the protocol -> ONNX element type, numpy type that tritonclient uses for it
DATATYPES = {
    "BOOL": (TensorProto.BOOL, numpy.bool_), "UINT8": (TensorProto.UINT8, numpy.uint8),
    "UINT16": (TensorProto.UINT16, numpy.uint16), "UINT32": (TensorProto.UINT32, numpy.uint32),
    "UINT64": (TensorProto.UINT64, numpy.uint64), "INT8": (TensorProto.INT8, numpy.int8),
    "INT16": (TensorProto.INT16, numpy.int16), "INT32": (TensorProto.INT32, numpy.int32),
    "INT64": (TensorProto.INT64, numpy.int64), "FP16": (TensorProto.FLOAT16, numpy.float16),
    "BF16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16), "FP32": (TensorProto.FLOAT, numpy.float32),
    "FP64": (TensorProto.DOUBLE, numpy.float64), "BYTES": (TensorProto.STRING, numpy.object_),
}
LABELS = ["ant", "bee", "cat", "dog", "eel"]


def write(root):
    for name, (kind, _) in DATATYPES.items():
        _save(root, "identity_" + name.lower(), _model(
            [helper.make_node("Identity", ["x"], ["y"])], [("x", kind, ["N", "M"])], [("y", kind, ["N", "M"])]))
    # y = a + k in float, and k doubled in int64: two inputs and two outputs of different types
    _save(root, "mixed", _model(
        [helper.make_node("Cast", ["k"], ["kf"], to=TensorProto.FLOAT), helper.make_node("Add", ["a", "kf"], ["sum"]),
         helper.make_node("Add", ["k", "k"], ["twice"])],
        [("a", TensorProto.FLOAT, ["N", 3]), ("k", TensorProto.INT64, ["N", 1])],
        [("sum", TensorProto.FLOAT, ["N", 3]), ("twice", TensorProto.INT64, ["N", 1])]))
    _save(root, "classes", _model([helper.make_node("Softmax", ["score"], ["p"], axis=-1)],
                                  [("score", TensorProto.FLOAT, ["N", 5])], [("p", TensorProto.FLOAT, ["N", 5])]))
    with open(os.path.join(root, "classes", "1", "labels.txt"), "w") as file:
        file.write("\n".join(LABELS) + "\n")
    # an exact sum over the steps of a sequence, its state carried by the server
    _save(root, "running_sum", _model([helper.make_node("Add", ["x", "held"], ["sum"]), helper.make_node("Identity", ["sum"], ["next"])],
                                      [("x", TensorProto.FLOAT, ["N", 2]), ("held", TensorProto.FLOAT, ["N", 2])],
                                      [("sum", TensorProto.FLOAT, ["N", 2]), ("next", TensorProto.FLOAT, ["N", 2])]))
    with open(os.path.join(root, "running_sum", "model.json"), "w") as file:
        json.dump({"state": [{"input": "held", "output": "next"}]}, file)


def tripler():
    """A model that exists only in a load call's `files`."""
    return _model([helper.make_node("Constant", [], ["three"], value_float=3.0), helper.make_node("Mul", ["x", "three"], ["y"])],
                  [("x", TensorProto.FLOAT, ["N"])], [("y", TensorProto.FLOAT, ["N"])]).SerializeToString()


def _model(nodes, inputs, outputs):
    value = lambda row: helper.make_tensor_value_info(*row)
    graph = helper.make_graph(nodes, "probe", [value(r) for r in inputs], [value(r) for r in outputs])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _save(root, name, model):
    folder = os.path.join(root, name, "1")
    os.makedirs(folder)
    onnx.save(model, os.path.join(folder, "model.onnx"))

"""networks.py - the ONNX models that the benches serve: recurrent layers with random weights, a linear layer behind
them, states h0 (c0) -> hn (cn), input x [time, batch, inputs], output y [time, batch, outputs]."""

import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GATES = {"LSTM": 4, "GRU": 3}
OPSET = 17


class Network:
    def __init__(self, kind, inputs, hidden, outputs):
        self.kind, self.inputs, self.hidden, self.outputs = kind, inputs, hidden, outputs
        self.states = {"h0": "hn", "c0": "cn"} if kind == "LSTM" else {"h0": "hn"}
        self.state_bytes = 4 * hidden * len(self.states)


LSTM = Network("LSTM", 64, 256, 32)
GRU = Network("GRU", 8, 64, 4)


def onnx_model(net, lengths=False):
    """`lengths`: an input int32[batch], for padded sequences."""
    rng = np.random.default_rng(net.hidden)

    def weights(name, *shape):
        bound = net.hidden ** -0.5
        return numpy_helper.from_array(rng.uniform(-bound, bound, shape).astype(np.float32), name)

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    rows = GATES[net.kind] * net.hidden
    constants = [weights("W", 1, rows, net.inputs), weights("R", 1, rows, net.hidden), weights("B", 1, 2 * rows),
                 weights("out_W", net.hidden, net.outputs), weights("out_B", net.outputs),
                 numpy_helper.from_array(np.array([1], np.int64), "direction_axis")]
    more = {"linear_before_reset": 1} if net.kind == "GRU" else {}
    nodes = [helper.make_node(net.kind, ["x", "W", "R", "B", "lengths" if lengths else "", *net.states], ["all", *net.states.values()],
                              hidden_size=net.hidden, **more),
             helper.make_node("Squeeze", ["all", "direction_axis"], ["flat"]),
             helper.make_node("MatMul", ["flat", "out_W"], ["product"]),
             helper.make_node("Add", ["product", "out_B"], ["y"])]
    graph = helper.make_graph(
        nodes, net.kind.lower(),
        [value("x", "time", "batch", net.inputs), *(value(s, 1, "batch", net.hidden) for s in net.states),
         *([helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"])] if lengths else [])],
        [value("y", "time", "batch", net.outputs), *(value(s, 1, "batch", net.hidden) for s in net.states.values())],
        constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def put(folder, name, net, sessions=None, batching=None):
    """Writes the model and its model.json into a repository."""
    at = pathlib.Path(folder) / name
    (at / "1").mkdir(parents=True, exist_ok=True)
    onnx.save(onnx_model(net), str(at / "1" / "model.onnx"))
    config = {"state": [{"input": i, "output": o} for i, o in net.states.items()], "time": {"x": 0, "y": 0},
              "batching": batching or {"max_rows": 64},
              "warmup": [{"x": {"shape": [4, 1, net.inputs]},
                          **{s: {"shape": [1, 1, net.hidden]} for s in net.states}}]}
    if sessions:
        config["sessions"] = sessions
    (at / "model.json").write_text(json.dumps(config, indent=2) + "\n")

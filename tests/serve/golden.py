"""golden.py - the golden networks with their inputs and expected outputs; a reader of ONNX TensorProto."""

import json
import os
import pathlib
import struct

ROOT = pathlib.Path(os.environ.get("TEST_SOURCE_ROOT", pathlib.Path(__file__).parents[2]))
NETS = ROOT / "tests" / "golden" / "nets"

DATATYPES = {1: ("FP32", "f"), 6: ("INT32", "i"), 7: ("INT64", "q"), 9: ("BOOL", "?"), 11: ("FP64", "d")}


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _fields(data):
    """(field number, value) of a protobuf message; a varint gives an int, anything else its bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
        else:
            size, at = {1: (8, at), 5: (4, at)}.get(wire) or _varint(data, at)
            value, at = data[at:at + size], at + size
        yield tag >> 3, value


class Tensor:
    """name, datatype, shape and flat values of a file with raw_data."""

    def __init__(self, path):
        self.shape, raw, kind, self.name = [], b"", 0, ""
        for number, value in _fields(pathlib.Path(path).read_bytes()):
            if number == 1:
                self.shape.append(value)
            elif number == 2:
                kind = value
            elif number == 8:
                self.name = value.decode()
            elif number == 9:
                raw = value
        self.datatype, letter = DATATYPES[kind]
        self.values = list(struct.unpack(f"<{len(raw) // struct.calcsize(letter)}{letter}", raw))

    def as_input(self):
        return {"name": self.name, "datatype": self.datatype, "shape": self.shape, "data": self.values}


def case(net, number=0):
    """(inputs, outputs) of a test data set, as Tensors."""
    folder = NETS / net / f"test_data_set_{number}"
    return [[Tensor(folder / f"{kind}_{i}.pb") for i in range(len(list(folder.glob(f"{kind}_*.pb"))))]
            for kind in ("input", "output")]


def request(net, number=0):
    return json.dumps({"inputs": [t.as_input() for t in case(net, number)[0]]})


def difference(answer, expected):
    """Largest distance of an answered output from a Tensor, by the rule of the golden README."""
    assert answer["name"] == expected.name, (answer["name"], expected.name)
    assert answer["shape"] == expected.shape, (answer["shape"], expected.shape)
    assert answer["datatype"] == expected.datatype, (answer["datatype"], expected.datatype)
    scale = max(1.0, *(abs(v) for v in expected.values))
    assert len(answer["data"]) == len(expected.values)
    return max(abs(a - e) for a, e in zip(answer["data"], expected.values)) / scale

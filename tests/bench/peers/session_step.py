"""session_step.py - what the Python peers share: an infer request of the Open Inference Protocol read (JSON or binary), its
answer written, and the sessions' hidden states as rows of one array."""

import json

import numpy as np
import orjson

HIDDEN = 256
JSON_TYPE, BINARY_TYPE = "application/json", "application/octet-stream"
LENGTH = "inference-header-content-length"


def read(body, header_length):
    """(session or None, is its first step, x f32[time, 1, inputs], is it binary)"""
    size = int(header_length) if header_length else len(body)
    head = orjson.loads(body[:size])
    entry = head["inputs"][0]
    if "data" in entry:
        x = np.array(entry["data"], np.float32).reshape(entry["shape"])
    else:
        x = np.frombuffer(body, np.float32, offset=size).reshape(entry["shape"])
    params = head.get("parameters", {})
    return params.get("sequence_id"), params.get("sequence_start", False), x, "data" not in entry


def write(y, binary):
    """(body, content type, headers) of the answer with y."""
    entry = {"name": "y", "datatype": "FP32", "shape": list(y.shape)}
    answer = {"model_name": "lstm", "model_version": "1", "outputs": [entry]}
    if not binary:
        entry["data"] = np.ascontiguousarray(y).reshape(-1)
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), JSON_TYPE, {}
    entry["parameters"] = {"binary_data_size": y.nbytes}
    text = json.dumps(answer).encode()
    return text + y.tobytes(), BINARY_TYPE, {LENGTH: str(len(text))}


class Sessions:
    """h and c of each session, f32[1, sessions, 256], as rows that a batch gathers and scatters."""

    def __init__(self):
        self.row, self.h, self.c = {}, np.zeros((1, 64, HIDDEN), np.float32), np.zeros((1, 64, HIDDEN), np.float32)

    def find(self, session, start):
        row = self.row.get(session)
        if row is None:
            if not start:
                raise KeyError(f"session {session} has no START")
            row = self.row[session] = len(self.row)
            if row == self.h.shape[1]:
                self.h, self.c = (np.concatenate([s, np.zeros_like(s)], 1) for s in (self.h, self.c))
        if start:
            self.h[0, row] = self.c[0, row] = 0
        return row

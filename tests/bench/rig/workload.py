"""workload.py - ready-made infer requests and the workload files of the load generator (see load.h)."""

import json

import numpy as np

ID, START = "@" * 20, "#" * 5  # places that the load generator fills in


def infer(model, net, steps, seed, binary=True, session=False):
    """An HTTP request for so many time steps, head and body."""
    x = np.random.default_rng(seed).uniform(-1, 1, (steps, 1, net.inputs)).astype(np.float32)
    entry = {"name": "x", "shape": list(x.shape), "datatype": "FP32"}
    if binary:
        entry["parameters"] = {"binary_data_size": x.nbytes}
    else:
        entry["data"] = [float(str(v)) for v in x.ravel()]  # as few digits as tell it from its neighbours
    header = {"inputs": [entry], "outputs": [{"name": "y", "parameters": {"binary_data": binary}}]}
    text = json.dumps(header, separators=(",", ":"))
    if session:
        text = '{"parameters":{"sequence_id":%s,"sequence_start":%s},' % (ID, START) + text[1:]
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if binary:
        head += f"Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {len(text)}\r\n"
    else:
        head += "Content-Type: application/json\r\n"
    body = text.encode() + (x.tobytes() if binary else b"")
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Class:
    """A class of requests: `requests` is [(time steps, bytes)], one of which is drawn for each arrival."""

    def __init__(self, name, weight, requests, sessions=0):
        self.name, self.weight, self.requests, self.sessions = name, weight, requests, sessions


def write(path, *classes):
    with open(path, "wb") as f:
        for k in classes:
            f.write(f"class {k.name} {k.weight} {k.sessions}\n".encode())
            for steps, request in k.requests:
                f.write(f"request {steps} {len(request)}\n".encode() + request + b"\n")
    return path

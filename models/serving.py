"""serving.py - what the recipes of graph models share: recurd over a folder of models, asked over HTTP, and the text of
a call for a README."""
import http.client
import json
import pathlib
import socket
import subprocess
import time

import numpy as np
import onnxruntime

import recipe

ROOT = pathlib.Path(__file__).resolve().parent.parent
START_S = 120  # until all models are loaded


class Server:
    """recurd over a folder of models, on a free port of this machine."""

    def __init__(self, models):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.process = subprocess.Popen([ROOT / "build/release/recurd", "--models", models, "--listen",
                                         f"127.0.0.1:{self.port}", "--server-max-body", "256M"],
                                        stdout=subprocess.DEVNULL)
        self.connection = None
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if self.call("GET", "/v2/health/ready")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        self.process.kill()
        raise SystemExit(f"recurd is not ready after {START_S} s, or has ended ({self.process.wait()})")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def call(self, method, path, body=None, headers=None):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            self.connection.request(method, path, body, headers or {})
            r = self.connection.getresponse()
            return r.status, r.read(), r.headers
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise

    def send(self, method, path, tensors, params):
        """Tensors as binary; the answer's first output as an array."""
        head, blobs = [], b""
        for name, t in tensors.items():
            data = np.ascontiguousarray(t).tobytes()
            kind = {"float32": "FP32", "int64": "INT64"}[t.dtype.name]
            head.append({"name": name, "datatype": kind, "shape": list(t.shape),
                         "parameters": {"binary_data_size": len(data)}})
            blobs += data
        text = json.dumps({"inputs": head, "parameters": params}).encode()
        status, answer, headers = self.call(method, path, text + blobs,
                                            {"Inference-Header-Content-Length": str(len(text))})
        if status not in (200, 201):
            raise SystemExit(f"{path}: {status} {answer[:300]}")
        size = int(headers.get("Inference-Header-Content-Length") or 0)
        if size == 0:
            return None
        shape = json.loads(answer[:size])["outputs"][0]["shape"]
        return np.frombuffer(answer[size:], np.float32).reshape(shape)


def show_call(path, model, script):
    """Text for a README: a call whose body `script`, Python without single quotes, prints, and the answer that ONNX
    Runtime computes. Networks of graphs take more numbers than a line holds, so that the body is made by a program."""
    printed = subprocess.run(["python3", "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    kinds = {"FP32": np.float32, "INT64": np.int64}
    body = json.loads(printed)
    arrays = {i["name"]: np.array(i["data"], kinds[i["datatype"]]).reshape(i["shape"]) for i in body["inputs"]}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [o["name"] for o in body.get("outputs", [])] or [o.name for o in session.get_outputs()]
    answer = ",\n  ".join(recipe.tensor_json(n, a) for n, a in zip(names, session.run(names, arrays)))
    return (f"```sh\npython3 -c '{script}' |\ncurl -s http://127.0.0.1:8000/v2/models/{model}/infer -d @-\n```\n\n"
            f'```json\n{{"model_name":"{model}","model_version":"1","outputs":[\n  {answer}]}}\n```\n')

"""pytriton_run.py PORT MODEL.onnx THREADS - a peer: Triton Inference Server as the nvidia-pytriton wheel brings it, with a
dynamic batcher in front of ONNX Runtime. Triton keeps sequence_id for itself, so the session has a parameter of another
name (peers_serving.py sends it so)."""

import sys

import numpy as np
import onnxruntime
import session_step
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

PORT, MODEL, THREADS = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = THREADS
net = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
sessions = session_step.Sessions()


def infer(requests):
    rows = [sessions.find(r.parameters["session_key"], r.parameters.get("session_starts", False)) for r in requests]
    x = np.concatenate([r.data["x"] for r in requests], 1)
    y, h, c = net.run(["y", "hn", "cn"], {"x": x, "h0": sessions.h[:, rows], "c0": sessions.c[:, rows]})
    sessions.h[:, rows], sessions.c[:, rows] = h, c
    return [{"y": y[:, i:i + 1]} for i in range(len(requests))]


with Triton(config=TritonConfig(http_address="127.0.0.1", http_port=PORT, allow_grpc=False, allow_metrics=False,
                                log_verbose=0)) as triton:
    triton.bind(model_name="lstm", infer_func=infer, inputs=[Tensor(name="x", dtype=np.float32, shape=(-1, 64))],
                outputs=[Tensor(name="y", dtype=np.float32, shape=(-1, 32))],
                config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=0)))
    triton.serve()

"""fastapi_torch.py PORT MODEL.onnx THREADS - a peer: FastAPI and PyTorch as most people write it, a request a call."""

import sys

import onnx
import session_step
import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from onnx import numpy_helper

PORT, MODEL, THREADS = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
torch.set_num_threads(THREADS)


def network():
    """torch.nn.LSTM and Linear with the weights of the file; ONNX has the gates in the order i o f c, PyTorch i f g o."""
    w = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in onnx.load(MODEL).graph.initializer}
    lstm, out = torch.nn.LSTM(w["W"].shape[2], w["R"].shape[2]), torch.nn.Linear(*w["out_W"].shape)

    def gates(t):
        i, o, f, c = t.chunk(4)
        return torch.cat([i, f, c, o])

    b, rb = w["B"][0].chunk(2)
    lstm.load_state_dict({"weight_ih_l0": gates(w["W"][0]), "weight_hh_l0": gates(w["R"][0]),
                          "bias_ih_l0": gates(b), "bias_hh_l0": gates(rb)})
    out.load_state_dict({"weight": w["out_W"].T, "bias": w["out_B"]})
    return lstm.eval(), out.eval()


lstm, out = network()
states, app = {}, FastAPI()


@app.post("/v2/models/lstm/infer")
async def infer(request: Request):
    session, start, x, binary = session_step.read(await request.body(), request.headers.get(session_step.LENGTH))
    with torch.inference_mode():
        h, state = lstm(torch.tensor(x), None if start or session is None else states[session])
        y = out(h)
    if session is not None:
        states[session] = state
    body, kind, headers = session_step.write(y.numpy(), binary)
    return Response(body, media_type=kind, headers=headers)


uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False)

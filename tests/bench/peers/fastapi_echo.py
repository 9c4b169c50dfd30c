"""fastapi_echo.py PORT MODEL.onnx JSON - a peer for large bodies: FastAPI and ONNX Runtime; JSON is "json" (Python's own, what
request.json() uses, lists on both sides) or "orjson" (and numpy arrays written by it)."""

import json
import sys

import numpy as np
import onnxruntime
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

PORT, MODEL, FAST = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "orjson"
net = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
app = FastAPI()


@app.post("/v2/models/negate/infer")
async def infer(request: Request):
    body = await request.body()
    entry = (orjson.loads(body) if FAST else json.loads(body))["inputs"][0]
    y, = net.run(["y"], {"x": np.array(entry["data"], np.float32).reshape(entry["shape"])})
    out = {"name": "y", "datatype": "FP32", "shape": list(y.shape), "data": y if FAST else y.tolist()}
    answer = {"model_name": "negate", "model_version": "1", "outputs": [out]}
    text = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY) if FAST else json.dumps(answer)
    return Response(text, media_type="application/json")


uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False)

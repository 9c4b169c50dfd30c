"""fastapi_ort.py PORT MODEL.onnx THREADS - a peer: FastAPI and ONNX Runtime with micro-batching."""

import sys

import micro_batch
import session_step
import uvicorn
from fastapi import FastAPI, Request, Response

net = micro_batch.MicroBatch(sys.argv[2], int(sys.argv[3]))
app = FastAPI()


@app.post("/v2/models/lstm/infer")
async def infer(request: Request):
    session, start, x, binary = session_step.read(await request.body(), request.headers.get(session_step.LENGTH))
    body, kind, headers = session_step.write(await net.ask(session, start, x), binary)
    return Response(body, media_type=kind, headers=headers)


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)

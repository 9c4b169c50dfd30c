"""aiohttp_ort.py PORT MODEL.onnx THREADS - a peer: aiohttp and ONNX Runtime with micro-batching."""

import sys

import micro_batch
import session_step
from aiohttp import web

net = micro_batch.MicroBatch(sys.argv[2], int(sys.argv[3]))


async def infer(request):
    session, start, x, binary = session_step.read(await request.read(), request.headers.get(session_step.LENGTH))
    body, kind, headers = session_step.write(await net.ask(session, start, x), binary)
    return web.Response(body=body, content_type=kind, headers=headers)


app = web.Application(client_max_size=1 << 28)
app.router.add_post("/v2/models/lstm/infer", infer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)

"""bentoml_run.py PORT MODEL.onnx THREADS - a peer: BentoML, whose service is an ASGI app here, so that binary bodies work."""

import sys

import bentoml
import micro_batch
import session_step
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

PORT, MODEL, THREADS = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
net = micro_batch.MicroBatch(MODEL, THREADS)


async def infer(request):
    session, start, x, binary = session_step.read(await request.body(), request.headers.get(session_step.LENGTH))
    body, kind, headers = session_step.write(await net.ask(session, start, x), binary)
    return Response(body, media_type=kind, headers=headers)


app = Starlette(routes=[Route("/v2/models/lstm/infer", infer, methods=["POST"])])


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
@bentoml.asgi_app(app)
class Lstm:
    pass


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(Lstm.to_asgi(), host="127.0.0.1", port=PORT, log_level="warning", access_log=False)

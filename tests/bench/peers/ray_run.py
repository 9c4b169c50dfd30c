"""ray_run.py PORT MODEL.onnx THREADS - a peer: Ray Serve, one replica, micro-batching."""

import os
import signal
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import micro_batch  # noqa: E402
import ray  # noqa: E402
import session_step  # noqa: E402
from ray import serve  # noqa: E402
from starlette.responses import Response  # noqa: E402

PORT, MODEL, THREADS = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])


@serve.deployment(num_replicas=1, max_ongoing_requests=512, ray_actor_options={"num_cpus": 1})
class Lstm:
    def __init__(self):
        self.net = micro_batch.MicroBatch(MODEL, THREADS)

    async def __call__(self, request):
        session, start, x, binary = session_step.read(await request.body(), request.headers.get(session_step.LENGTH))
        body, kind, headers = session_step.write(await self.net.ask(session, start, x), binary)
        return Response(body, media_type=kind, headers=headers)


here = os.path.dirname(os.path.abspath(__file__))
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1",
         runtime_env={"env_vars": {"PYTHONPATH": here}})
serve.start(http_options={"host": "127.0.0.1", "port": PORT}, logging_config={"enable_access_log": False})
serve.run(Lstm.bind(), route_prefix="/v2/models/lstm/infer")
signal.sigwait([signal.SIGTERM, signal.SIGINT])
serve.shutdown()
ray.shutdown()

"""mlserver_run.py PORT MODEL.onnx THREADS - a peer: MLServer with a runtime of ours around ONNX Runtime, micro-batching."""

import asyncio
import sys

import micro_batch
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

PORT, MODEL, THREADS = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])


class Lstm(MLModel):
    async def load(self):
        self.net = micro_batch.MicroBatch(MODEL, THREADS)
        return True

    async def predict(self, payload):
        params = payload.parameters.model_dump() if payload.parameters else {}
        x = NumpyCodec.decode_input(payload.inputs[0]).astype("float32", copy=False)
        y = await self.net.ask(params.get("sequence_id"), params.get("sequence_start", False), x)
        return InferenceResponse(model_name="lstm", model_version="1", outputs=[NumpyCodec.encode_output("y", y)])


async def main():
    server = MLServer(Settings(host="127.0.0.1", http_port=PORT, grpc_port=0, metrics_endpoint=None, parallel_workers=0,
                               debug=False, logging_settings=None))
    model = ModelSettings(name="lstm", implementation="mlserver_run.Lstm")
    await asyncio.gather(server.start([model]))


sys.modules["mlserver_run"] = sys.modules["__main__"]
asyncio.run(main())

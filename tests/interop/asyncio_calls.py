"""The asyncio client: the same calls, and many at once on one loop."""

import asyncio

import numpy
from tritonclient.http import aio
from tritonclient.utils import InferenceServerException

import infer_forms
import messages
import oracle
from checks import equal, expect
from closeness import near


def run(report, site):
    for check in CHECKS:
        report.run("asyncio." + check.__name__, lambda check=check: asyncio.run(_with_client(check, site)))


async def _with_client(check, site):
    async with aio.InferenceServerClient(site.url, conn_timeout=120) as client:
        await asyncio.wait_for(check(client, site), 240)


async def management(client, site):
    """aiohttp offers gzip on each of these and this client does not decode it: they must come plain."""
    expect(await client.is_server_live() and await client.is_server_ready(), "not live or not ready")
    expect(await client.is_model_ready("mixed"), "mixed is not ready")
    expect(not await client.is_model_ready("no_such_model"), "an unknown model is ready")
    equal((await client.get_server_metadata())["name"], "recurd", "server name")
    equal((await client.get_model_metadata("mixed"))["name"], "mixed", "metadata name")
    equal((await client.get_model_config("mixed", "1"))["name"], "mixed", "config name")
    expect(any(e["name"] == "mixed" for e in await client.get_model_repository_index()), "mixed is not in the index")
    equal((await client.get_inference_statistics("mixed"))["model_stats"][0]["name"], "mixed", "statistics name")
    expect(len((await client.get_inference_statistics())["model_stats"]) > 1, "statistics of all models lack some")
    expect("trace_level" in await client.get_trace_settings(), "no trace_level")
    expect("trace_level" in await client.update_trace_settings("mixed", {"trace_rate": None}), "no trace_level after update")
    told = await client.get_log_settings()
    equal(await client.update_log_settings({"log_info": told["log_info"]}), told, "log settings after an equal update")
    equal(await client.get_system_shared_memory_status(), [], "system regions")
    equal(await client.get_cuda_shared_memory_status(), [], "cuda regions")


async def load_and_unload(client, site):
    await client.unload_model("identity_int8")
    expect(not await client.is_model_ready("identity_int8"), "ready after unload")
    await client.load_model("identity_int8")
    expect(await client.is_model_ready("identity_int8"), "not ready after load")


async def infer_forms_async(client, site):
    arrays = infer_forms.mixed_inputs(200)
    want = oracle.answer(oracle.session(site.repository.file("mixed")), arrays)
    for sent in (set(), {"a"}, {"a", "k"}):
        for asked in (set(), {"sum"}, {"sum", "twice"}):
            for coding in infer_forms.CODINGS:
                result = await client.infer("mixed", messages.inputs(arrays, sent), outputs=messages.outputs(["sum", "twice"], asked),
                                            request_compression_algorithm=coding, response_compression_algorithm=coding)
                for name in want:
                    near(result.as_numpy(name), want[name], f"in {sorted(sent)} out {sorted(asked)} {coding}: {name}")


async def hundred_at_once(client, site):
    sizes = [k % 13 + 1 for k in range(100)]
    calls = [client.infer("mixed", messages.inputs(infer_forms.mixed_inputs(n)), request_id=f"r{k}") for k, n in enumerate(sizes)]
    run_here = oracle.session(site.repository.file("mixed"))
    for k, (n, result) in enumerate(zip(sizes, await asyncio.gather(*calls))):
        equal(result.get_response()["id"], f"r{k}", "id")
        near(result.as_numpy("sum"), oracle.answer(run_here, infer_forms.mixed_inputs(n))["sum"], f"call {k}")


async def refusal(client, site):
    try:
        await client.infer("no_such_model", messages.inputs({"x": numpy.zeros((1, 1), "float32")}))
    except InferenceServerException as error:
        equal(error.status(), "404", "status")
        return
    raise AssertionError("no error")


CHECKS = [management, load_and_unload, infer_forms_async, hundred_at_once, refusal]

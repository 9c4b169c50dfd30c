"""Health, metadata, configuration, statistics, index, logging, trace and shared-memory calls of the real client."""

import json
import urllib.request

import numpy
import onnx
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

import messages
from checks import equal, expect
from probe_models import DATATYPES


def run(report, site):
    with InferenceServerClient(site.url, network_timeout=120.0, connection_timeout=120.0) as client:
        for check in CHECKS:
            report.run("calls." + check.__name__, check, client, site)
        for name in site.repository.bundled + site.repository.probes + list(site.repository.golden):
            report.run("ready." + name, model_ready, client, name)
            report.run("metadata." + name, metadata_matches_file, client, site, name)


def model_ready(client, name):
    if not client.is_model_ready(name):
        reasons = [e.get("reason") for e in client.get_model_repository_index() if e["name"] == name]
        raise AssertionError(f"not ready: {reasons}")


def metadata_matches_file(client, site, name):
    """Names, types and fixed dims as in the file; -1 where the file has a name or nothing."""
    types = {v[0]: k for k, v in DATATYPES.items()}
    graph = onnx.load(site.repository.file(name)).graph
    told = client.get_model_metadata(name)
    states = _states(client, name)
    weights = {t.name for t in graph.initializer}
    for key, values in (("inputs", [v for v in graph.input if v.name not in weights]), ("outputs", graph.output)):
        have = {t["name"]: t for t in told[key]}
        for value in values:
            if value.name not in have and value.name in states:
                continue  # the server holds it
            expect(value.name in have, f"no {key} entry {value.name}")
            one = have[value.name]
            equal(one["datatype"], types[value.type.tensor_type.elem_type], f"datatype of {value.name}")
            if value.type.tensor_type.HasField("shape"):
                dims = [d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim]
                expect(len(one["shape"]) == len(dims) and all(a == b or -1 in (a, b) for a, b in zip(one["shape"], dims)),
                       f"shape of {value.name} is {one['shape']}, the file says {dims}")


def _states(client, name):
    """Tensors that the server says it keeps: absent from the metadata for good reason."""
    held = client.get_model_config(name).get("sequence_batching", {}).get("state", [])
    return {s[key] for s in held for key in ("input_name", "output_name")}


def live_and_ready(client, site):
    expect(client.is_server_live(), "is_server_live is false")
    expect(client.is_server_ready(), "is_server_ready is false")
    expect(client.is_model_ready("mixed"), "is_model_ready is false")
    expect(client.is_model_ready("mixed", "1"), "is_model_ready of version 1 is false")
    expect(not client.is_model_ready("no_such_model"), "an unknown model is ready")
    expect(not client.is_model_ready("mixed", "77"), "an unknown version is ready")


def health_bodies(client, site):
    """Triton's client looks at the status only; KServe's reads JSON."""
    for path, key in (("health/live", "live"), ("health/ready", "ready"), ("models/mixed/ready", "ready")):
        with urllib.request.urlopen(f"http://{site.url}/v2/{path}", timeout=120) as answer:
            equal(json.load(answer).get(key), True, f"{key} in the body of {path}")


def server_metadata(client, site):
    told = client.get_server_metadata()
    equal(told["name"], "recurd", "name")
    expect(isinstance(told["version"], str) and told["version"], "version is not a text")
    missing = {"binary_tensor_data", "statistics", "model_repository", "model_configuration"} - set(told["extensions"])
    expect(not missing, f"extensions lack {sorted(missing)}")


def model_metadata(client, site):
    for version in ("", "1"):
        told = client.get_model_metadata("mixed", version)
        equal(told["name"], "mixed", "name")
        equal(told["versions"], ["1"], "versions")
        expect(isinstance(told["platform"], str), "platform is not a text")
        equal([(i["name"], i["datatype"], i["shape"]) for i in told["inputs"]],
              [("a", "FP32", [-1, 3]), ("k", "INT64", [-1, 1])], "inputs")
        equal([(o["name"], o["datatype"]) for o in told["outputs"]], [("sum", "FP32"), ("twice", "INT64")], "outputs")


def model_config(client, site):
    told = client.get_model_config("mixed")
    equal(told["name"], "mixed", "name")
    expect(isinstance(told["max_batch_size"], int), "max_batch_size is not an integer")
    equal([i["name"] for i in told["input"]], ["a", "k"], "input")
    equal([i["data_type"] for i in told["input"]], ["TYPE_FP32", "TYPE_INT64"], "data types")
    equal([o["name"] for o in told["output"]], ["sum", "twice"], "output")
    equal(client.get_model_config("mixed", "1")["name"], "mixed", "name by version")


def unknown_model(client, site):
    for call in (client.get_model_metadata, client.get_model_config, client.get_inference_statistics):
        refused(lambda: call("no_such_model"), "404")
        refused(lambda: call("mixed", "77"), "404")


def index(client, site):
    found = {(e["name"], e.get("version")): e.get("state") for e in client.get_model_repository_index()}
    for name in site.repository.probes + site.repository.bundled:
        states = [s for (n, _), s in found.items() if n == name]
        expect("READY" in states, f"{name} is {states} in the index")


def statistics(client, site):
    before = _stats(client, "mixed")
    for _ in range(3):
        client.infer("mixed", messages.inputs({"a": numpy.zeros((2, 3), "float32"), "k": numpy.ones((2, 1), "int64")}))
    after = _stats(client, "mixed")
    equal(after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"], 3, "success count")
    equal(after["inference_count"] - before["inference_count"], 6, "rows in inference_count")
    expect(after["execution_count"] > before["execution_count"], "execution_count did not rise")
    expect(after["last_inference"] > 1_700_000_000_000, "last_inference is not in ms since 1970")
    for key in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss"):
        for part in ("count", "ns"):
            value = after["inference_stats"][key][part]
            expect(isinstance(value, int) and value >= 0, f"{key}.{part} is {value!r}")
    everything = client.get_inference_statistics()["model_stats"]
    expect({"mixed", "classes"} <= {s["name"] for s in everything}, "statistics of all models lack some")


def _stats(client, name):
    told = client.get_inference_statistics(name)["model_stats"]
    equal([(s["name"], s["version"]) for s in told], [(name, "1")], "model_stats")
    return told[0]


def statistics_of_failure(client, site):
    before = _stats(client, "classes")
    refused(lambda: client.infer("classes", messages.inputs({"score": numpy.zeros((2, 4), "float32")})), "400")
    after = _stats(client, "classes")
    equal(after["inference_stats"]["success"], before["inference_stats"]["success"], "success after a refusal")


def log_settings(client, site):
    told = client.get_log_settings()
    for key, kind in (("log_info", bool), ("log_warning", bool), ("log_error", bool), ("log_verbose_level", int)):
        expect(isinstance(told[key], kind), f"{key} is {told.get(key)!r}")
    changed = client.update_log_settings({"log_verbose_level": 1, "log_info": None})
    equal(changed["log_verbose_level"], 1, "log_verbose_level after the change")
    equal(changed["log_info"], told["log_info"], "log_info after null")
    equal(client.get_log_settings(), changed, "settings read again")
    client.update_log_settings({"log_verbose_level": told["log_verbose_level"]})
    refused(lambda: client.update_log_settings({"log_file": "/tmp/elsewhere.log"}), "501")


def trace_settings(client, site):
    for model in (None, "mixed"):
        told = client.get_trace_settings(model)
        expect(isinstance(told["trace_level"], list), f"trace_level is {told.get('trace_level')!r}")
        for key in ("trace_rate", "trace_count", "log_frequency"):
            expect(isinstance(told[key], str), f"{key} is {told.get(key)!r}")
    changed = client.update_trace_settings(settings={"trace_rate": "77"})
    equal(changed["trace_rate"], "77", "trace_rate of the server")
    equal(client.get_trace_settings()["trace_rate"], "77", "trace_rate asked for again")
    # recurd writes no traces: a model has no settings of its own, and the level stays OFF
    refused(lambda: client.update_trace_settings("mixed", {"trace_rate": "5"}), "501")
    refused(lambda: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}), "501")


def shared_memory(client, site):
    """Not offered: no region is there, and registering one is refused in words."""
    equal(client.get_system_shared_memory_status(), [], "system regions")
    equal(client.get_cuda_shared_memory_status(), [], "cuda regions")
    refused(lambda: client.register_system_shared_memory("r", "/key", 64), "501")
    refused(lambda: client.register_cuda_shared_memory("r", b"handle", 0, 64), "501")


def refused(call, status):
    """The call must fail with this HTTP status and a text."""
    try:
        call()
    except InferenceServerException as error:
        equal(error.status(), status, f"status of '{error.message()}'")
        expect(error.message(), "the error has no text")
        return error.message()
    raise AssertionError(f"no error, expected {status}")


CHECKS = [live_and_ready, health_bodies, server_metadata, model_metadata, model_config, unknown_model, index,
          statistics, statistics_of_failure, log_settings, trace_settings, shared_memory]

"""load_model and unload_model of the real client, with config and files too."""

import json

import numpy
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

import messages
import probe_models
from checks import equal, expect
from closeness import near
from metadata_calls import refused


def run(report, site):
    with InferenceServerClient(site.url, network_timeout=120.0) as client:
        for check in CHECKS:
            report.run("load." + check.__name__, check, client, site)


def unload_and_load(client, site):
    ask = messages.inputs({"x": numpy.array([[7]], "int32")})
    client.unload_model("identity_int32")
    expect(not client.is_model_ready("identity_int32"), "ready after unload")
    refused_status(client, ask)
    states = [e.get("state") for e in client.get_model_repository_index() if e["name"] == "identity_int32"]
    expect("READY" not in states, f"states after unload: {states}")
    expect(client.is_server_ready(), "a deliberate unload made the server not ready")
    client.load_model("identity_int32")
    expect(client.is_model_ready("identity_int32"), "not ready after load")
    equal(client.infer("identity_int32", ask).as_numpy("y").tolist(), [[7]], "answer after load")


def refused_status(client, ask):
    try:
        client.infer("identity_int32", ask)
    except InferenceServerException as error:
        expect(error.status() in ("404", "503"), f"status of infer after unload is {error.status()}")
        return
    raise AssertionError("an unloaded model answered")


def unload_dependents(client, site):
    client.unload_model("identity_uint16", unload_dependents=True)
    client.load_model("identity_uint16")
    expect(client.is_model_ready("identity_uint16"), "not ready after load")


def reload_of_loaded(client, site):
    client.load_model("mixed")
    expect(client.is_model_ready("mixed"), "not ready after a second load")


def unknown(client, site):
    for call in (client.load_model, client.unload_model):
        text = refused_any(lambda: call("no_such_model"))
        expect("no_such_model" in text, f"the error does not name the model: {text}")


def refused_any(call):
    try:
        call()
    except InferenceServerException as error:
        expect(str(error.status()).startswith(("4", "5")), f"status {error.status()}")
        return error.message()
    raise AssertionError("no error")


def with_config(client, site):
    client.load_model("classes", config=json.dumps({"batching": {"max_rows": 8}}))
    expect(client.is_model_ready("classes"), "not ready after load with a config")
    text = refused_any(lambda: client.load_model("classes", config='{"nonsense_key": 1}'))
    expect("nonsense_key" in text, f"the error does not name the unknown key: {text}")
    expect(client.is_model_ready("classes"), "a failed reload took the model away")
    client.load_model("classes")


def with_files(client, site):
    client.load_model("from_files", config="{}", files={"file:1/model.onnx": probe_models.tripler()})
    got = client.infer("from_files", messages.inputs({"x": numpy.array([1.5, -2], "float32")})).as_numpy("y")
    near(got, numpy.array([4.5, -6], "float32"), "y")
    client.unload_model("from_files")


def broken_file(client, site):
    text = refused_any(lambda: client.load_model("broken", config="{}", files={"file:1/model.onnx": b"this is no model"}))
    expect(text, "no words")
    expect(client.is_server_live(), "the server is gone")


CHECKS = [unload_and_load, unload_dependents, reload_of_loaded, unknown, with_config, with_files, broken_file]

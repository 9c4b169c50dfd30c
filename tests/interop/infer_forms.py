"""Every way the client can send and ask for the same inference: JSON or binary per tensor, compressed or not."""

import http.client
import itertools

import numpy
from tritonclient.http import InferenceServerClient

import messages
import oracle
from checks import equal, expect
from closeness import near, same_bits
from metadata_calls import refused
from probe_models import LABELS

CODINGS = [None, "gzip", "deflate"]


def run(report, site):
    with InferenceServerClient(site.url, concurrency=16, network_timeout=120.0) as client:
        for check in CHECKS:
            report.run("infer." + check.__name__, check, client, site)


def mixed_inputs(rows=4):
    random = numpy.random.RandomState(rows)
    return {"a": random.normal(size=(rows, 3)).astype("float32"), "k": random.randint(-9, 9, (rows, 1)).astype("int64")}


def forms(client, site):
    """Each input and each output as JSON or binary, with each pair of content codings."""
    arrays = mixed_inputs(200)  # large enough that the server compresses
    want = oracle.answer(oracle.session(site.repository.file("mixed")), arrays)
    subsets = [set(), {"a"}, {"k"}, {"a", "k"}]
    for sent, asked, up, down in itertools.product(subsets, [set(), {"sum"}, {"twice"}, {"sum", "twice"}], CODINGS, CODINGS):
        result = client.infer("mixed", messages.inputs(arrays, sent), outputs=messages.outputs(["sum", "twice"], asked),
                              request_compression_algorithm=up, response_compression_algorithm=down)
        what = f"binary in {sorted(sent)} out {sorted(asked)}, {up} up {down} down"
        for name in want:
            near(result.as_numpy(name), want[name], f"{what}: {name}")
            binary = "binary_data_size" in result.get_output(name).get("parameters", {})
            equal(binary, name in asked, f"{what}: binary form of {name}")


def all_outputs_by_default(client, site):
    result = client.infer("mixed", messages.inputs(mixed_inputs()))
    equal(sorted(o["name"] for o in result.get_response()["outputs"]), ["sum", "twice"], "outputs")


def one_output(client, site):
    result = client.infer("mixed", messages.inputs(mixed_inputs()), outputs=messages.outputs(["twice"], False))
    equal([o["name"] for o in result.get_response()["outputs"]], ["twice"], "outputs")


def identity_of_answer(client, site):
    told = client.infer("mixed", messages.inputs(mixed_inputs()), request_id="rq-7", model_version="1").get_response()
    equal((told["id"], told["model_name"], told["model_version"]), ("rq-7", "mixed", "1"), "id, name and version")
    expect("id" not in client.infer("mixed", messages.inputs(mixed_inputs())).get_response(), "an id that nobody gave")


def custom_parameters(client, site):
    client.infer("mixed", messages.inputs(mixed_inputs()), parameters={"note": "x", "n": 3, "f": 0.5, "b": True},
                 timeout=20_000_000, priority=1)


def async_calls(client, site):
    arrays = [mixed_inputs(k % 7 + 1) for k in range(40)]
    waiting = [client.async_infer("mixed", messages.inputs(a), request_id=str(k)) for k, a in enumerate(arrays)]
    run_here = oracle.session(site.repository.file("mixed"))
    for k, (call, sent) in enumerate(zip(waiting, arrays)):
        result = call.get_result()
        equal(result.get_response()["id"], str(k), "id")
        near(result.as_numpy("sum"), oracle.answer(run_here, sent)["sum"], f"call {k}")


def prepared_bodies(client, site):
    """The client's static halves: a body made without it sending, an answer parsed without it asking."""
    arrays = mixed_inputs(3)
    body, json_size = InferenceServerClient.generate_request_body(messages.inputs(arrays), messages.outputs(["sum"]))
    connection = http.client.HTTPConnection(site.url, timeout=120)
    connection.request("POST", "/v2/models/mixed/infer", body, {"Inference-Header-Content-Length": str(json_size)})
    answer = connection.getresponse()
    payload = answer.read()
    equal(answer.status, 200, "status")
    result = InferenceServerClient.parse_response_body(payload, header_length=int(answer.headers["Inference-Header-Content-Length"]))
    near(result.as_numpy("sum"), arrays["a"] + arrays["k"].astype("float32"), "sum")
    connection.close()


def empty_batch(client, site):
    for binary in (True, False):
        result = client.infer("mixed", messages.inputs(mixed_inputs(0), binary), outputs=messages.outputs(["sum"], binary))
        equal(list(result.as_numpy("sum").shape), [0, 3], "shape of no rows")


def float_text_is_exact(client, site):
    """JSON floats come back as the same bits, the smallest and the largest too."""
    values = numpy.array([[0.1, -0.0, 1e-45, 3.4028235e38, 1 / 3, 16777217, -1.1754944e-38, 1e-7]], "float32")
    result = client.infer("identity_fp32", messages.inputs({"x": values}, False), outputs=messages.outputs(["y"], False))
    same_bits(result.as_numpy("y"), values, "floats through JSON")


def classification(client, site):
    scores = numpy.array([[0.0, 3.0, 1.0, 2.0, -1.0], [5.0, 1.0, 1.0, 0.0, 2.0]], "float32")
    p = oracle.answer(oracle.session(site.repository.file("classes")), {"score": scores})["p"]
    for binary in (True, False):
        result = client.infer("classes", messages.inputs({"score": scores}), outputs=messages.outputs(["p"], binary, classes=3))
        told = result.as_numpy("p")
        equal(list(told.shape), [2, 3], "shape")
        for row, order in enumerate(([1, 3, 2], [0, 4, 1])):
            for place, index in enumerate(order):
                text = told[row][place]
                value, number, label = (text.decode() if isinstance(text, bytes) else text).split(":")
                equal((int(number), label), (index, LABELS[index]), f"row {row} place {place}")
                expect(abs(float(value) - p[row, index]) < 1e-5, f"value {value}, expected {p[row, index]}")
    wide = client.infer("classes", messages.inputs({"score": scores}), outputs=messages.outputs(["p"], True, classes=99))
    equal(list(wide.as_numpy("p").shape), [2, 5], "shape when more classes are asked than there are")


def refusals(client, site):
    """Wrong requests get a status and words, and the connection goes on."""
    good = mixed_inputs()
    wrong = [
        ("unknown model", "404", lambda: client.infer("no_such_model", messages.inputs(good))),
        ("unknown version", "404", lambda: client.infer("mixed", messages.inputs(good), model_version="9")),
        ("missing input", "400", lambda: client.infer("mixed", messages.inputs({"a": good["a"]}))),
        ("unknown input", "400", lambda: client.infer("mixed", messages.inputs({**good, "z": good["a"]}))),
        ("unknown output", "400", lambda: client.infer("mixed", messages.inputs(good), outputs=messages.outputs(["z"]))),
        ("wrong datatype", "400", lambda: client.infer("mixed", messages.inputs({**good, "a": good["a"].astype("float64")}))),
        ("wrong dim", "400", lambda: client.infer("mixed", messages.inputs({**good, "a": good["a"][:, :2]}))),
        ("wrong rank", "400", lambda: client.infer("mixed", messages.inputs({**good, "a": good["a"][0]}))),
        ("rows do not match", "400", lambda: client.infer("mixed", messages.inputs({**good, "k": mixed_inputs(3)["k"]}))),
    ]
    for what, status, call in wrong:
        try:
            refused(call, status)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}")
        near(client.infer("mixed", messages.inputs(good)).as_numpy("twice"), good["k"] * 2, f"after {what}")


CHECKS = [forms, all_outputs_by_default, one_output, identity_of_answer, custom_parameters, async_calls,
          prepared_bodies, empty_batch, float_text_is_exact, classification, refusals]

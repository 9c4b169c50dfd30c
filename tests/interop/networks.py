"""Golden networks and bundled models over HTTP against ONNX Runtime."""

import numpy
from tritonclient.http import InferenceServerClient

import messages
import oracle
from checks import Skipped
from closeness import near


def run(report, site):
    with InferenceServerClient(site.url, network_timeout=120.0) as client:
        for name, folder in site.repository.golden.items():
            report.run("golden." + name, golden, client, name, folder)
        for name in site.repository.bundled:
            report.run("bundled." + name, bundled, client, site, name)


def golden(client, name, folder):
    """The stored answers are ONNX Runtime's. Sets alternate between binary and JSON where JSON has the type."""
    for k, (inputs, outputs) in enumerate(oracle.sets(folder)):
        binary = k % 2 == 0
        result = client.infer(name, messages.inputs(inputs, binary), outputs=messages.outputs(list(outputs), binary),
                              request_compression_algorithm=[None, "gzip", "deflate"][k % 3])
        for output, want in outputs.items():
            near(result.as_numpy(output), want, f"set {k} {output}")


def bundled(client, site, name):
    """Made-up inputs of several sizes; what ONNX Runtime cannot run is not compared."""
    run_here = oracle.session(site.repository.file(name))
    told = {t["name"] for t in client.get_model_metadata(name)["inputs"]}
    compared = 0
    for k, sizes in enumerate(([1], [2], [3], [4], [1, 5])):
        inputs = oracle.made_up_inputs(run_here, numpy.random.RandomState(k), sizes)
        try:
            want = oracle.answer(run_here, inputs)
        except Exception:
            continue
        if told != set(inputs):
            raise Skipped("the server keeps some of its inputs as state")
        result = client.infer(name, messages.inputs(inputs))
        for output, value in want.items():
            near(result.as_numpy(output), value, f"sizes {sizes}: {output}")
        compared += 1
    if not compared:
        raise Skipped("ONNX Runtime takes none of the made-up inputs")

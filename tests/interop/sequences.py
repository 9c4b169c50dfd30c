"""The sequence extension: state that the server carries from step to step."""

import numpy
from tritonclient.http import InferenceServerClient

import messages
from checks import Skipped, equal, expect
from metadata_calls import refused

MODEL = "running_sum"


def run(report, site):
    with InferenceServerClient(site.url, network_timeout=30.0) as client:
        for check in CHECKS:
            report.run("sequence." + check.__name__, _if_offered, client, check)


def _if_offered(client, check):
    if "sequence" not in client.get_server_metadata()["extensions"]:
        raise Skipped("the server does not list the sequence extension")
    check(client)


def step(client, sequence, value, start=False, end=False):
    x = numpy.full((1, 2), value, "float32")
    result = client.infer(MODEL, messages.inputs({"x": x}), outputs=messages.outputs(["sum"]), sequence_id=sequence,
                          sequence_start=start, sequence_end=end)
    return float(result.as_numpy("sum")[0, 0])


def whole_sequence(client):
    equal(step(client, 71, 1, start=True), 1.0, "first step")
    equal(step(client, 71, 2), 3.0, "second step")
    equal(step(client, 71, 4, end=True), 7.0, "last step")


def interleaved(client):
    for k in range(1, 21):
        step(client, 1000 + k, k, start=True)
    for k in range(1, 21):
        equal(step(client, 1000 + k, 100), 100.0 + k, f"second step of {k}")
    for k in range(1, 21):
        equal(step(client, 1000 + k, 0, end=True), 100.0 + k, f"last step of {k}")


def kinds_of_id(client):
    """Integers of all 64 bits, and strings; 7 and "7" are two sequences."""
    for number, sequence in enumerate((7, "7", 2**63, 2**64 - 1, "a b \u00fc", "x" * 128)):
        equal(step(client, sequence, number + 1, start=True), number + 1.0, f"start of {sequence!r}")
    for number, sequence in enumerate((7, "7", 2**63, 2**64 - 1, "a b \u00fc", "x" * 128)):
        equal(step(client, sequence, 10, end=True), number + 11.0, f"end of {sequence!r}")


def unknown(client):
    text = refused(lambda: step(client, 987654, 1), "400")
    expect("must specify the START flag" in text, f"text without the words that users look for: {text}")


def continued_after_end(client):
    step(client, 72, 1, start=True, end=True)
    refused(lambda: step(client, 72, 1), "400")


def started_again(client):
    step(client, 73, 5, start=True)
    equal(step(client, 73, 2, start=True), 2.0, "a start on a live id begins anew")
    step(client, 73, 0, end=True)


CHECKS = [whole_sequence, interleaved, kinds_of_id, unknown, continued_after_end, started_again]

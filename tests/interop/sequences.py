"""The sequence extension: state that the server carries from step to step."""

import asyncio

import numpy
import tritonclient.http.aio as aio
from tritonclient.http import InferenceServerClient

import messages
import oracle
from checks import equal, expect
from closeness import near
from metadata_calls import refused

MODEL = "running_sum"
TEXT = "char-lstm"


def run(report, site):
    with InferenceServerClient(site.url, network_timeout=120.0, concurrency=4) as client:
        for check in CHECKS:
            report.run("sequence." + check.__name__, check, client)
        report.run("sequence.text_in_pieces", text_in_pieces, client, site)
        report.run("sequence.asyncio_client", lambda: asyncio.run(asyncio_client(site)))


def listed(client):
    expect("sequence" in client.get_server_metadata()["extensions"], "/v2 does not list the extension")


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


def wrong_ids(client):
    for sequence in ("x" * 129, "\u00fc" * 65):
        refused(lambda: step(client, sequence, 1, start=True), "400")
    refused(lambda: step(client, 2**64, 1, start=True), "400")


def no_id(client):
    """0 and "" are no sequence: the state is an ordinary input, zero where it is left out."""
    x = messages.inputs({"x": numpy.ones((1, 2), "float32")})
    for sequence in (0, ""):
        result = client.infer(MODEL, x, sequence_id=sequence, sequence_start=True)
        equal(sorted(o["name"] for o in result.get_response()["outputs"]), ["next", "sum"], "outputs")
    held = messages.inputs({"x": numpy.ones((1, 2), "float32"), "held": numpy.full((1, 2), 4, "float32")})
    equal(float(client.infer(MODEL, held).as_numpy("sum")[0, 0]), 5.0, "sum after a state that was sent")


def default_outputs(client):
    """The client that names no outputs gets all but the states."""
    x = messages.inputs({"x": numpy.ones((1, 2), "float32")})
    told = client.infer(MODEL, x, sequence_id="d", sequence_start=True, sequence_end=True).get_response()
    equal([o["name"] for o in told["outputs"]], ["sum"], "outputs")
    equal(told["parameters"]["sequence_id"], "d", "sequence_id in the answer")


def batch_of_two(client):
    x = messages.inputs({"x": numpy.ones((2, 2), "float32")})
    refused(lambda: client.infer(MODEL, x, sequence_id=74, sequence_start=True), "400")
    refused(lambda: step(client, 74, 1), "400")


def start_and_end(client):
    for value in (3, 4):
        equal(step(client, 75, value, start=True, end=True), float(value), "a sequence of one request")
    refused(lambda: step(client, 75, 1), "400")


def failure_in_the_middle(client):
    step(client, 76, 1, start=True)
    wrong = messages.inputs({"x": numpy.ones((1, 3), "float32")})
    refused(lambda: client.infer(MODEL, wrong, sequence_id=76), "400")
    equal(step(client, 76, 2, end=True), 3.0, "the step after a failed one")


def many_at_once(client):
    """Requests of fifty sequences under way together, each in its order."""
    waiting = []
    for k in range(3):
        waiting += [client.async_infer(MODEL, messages.inputs({"x": numpy.full((1, 2), s, "float32")}),
                                       outputs=messages.outputs(["sum"]), sequence_id=3000 + s, sequence_start=k == 0,
                                       sequence_end=k == 2) for s in range(1, 51)]
        sums = [float(w.get_result().as_numpy("sum")[0, 0]) for w in waiting[-50:]]
        equal(sums, [float(s * (k + 1)) for s in range(1, 51)], f"sums of request {k + 1}")


def text_in_pieces(client, site):
    """A text in pieces of 1 to 30 characters: the bits of the whole in one request, and near ONNX Runtime's numbers."""
    tokens = numpy.random.RandomState(5).randint(0, 65, (1, 120))
    whole = client.infer(TEXT, messages.inputs({"tokens": tokens}), outputs=messages.outputs(["logits"])).as_numpy("logits")
    zero = numpy.zeros((2, 1, 320), "float32")
    want = oracle.answer(oracle.session(site.repository.file(TEXT)), {"tokens": tokens, "h0": zero, "c0": zero})
    near(whole, want["logits"], "the whole")
    at, pieces = 0, []
    for size in (1, 1, 2, 30, 7, 1, 28, 20, 30):
        piece = messages.inputs({"tokens": tokens[:, at:at + size]})
        at += size
        result = client.infer(TEXT, piece, sequence_id="text", sequence_start=at == size, sequence_end=at == 120)
        pieces.append(result.as_numpy("logits"))
    equal(numpy.concatenate(pieces, axis=1).tobytes(), whole.tobytes(), "the pieces together")


async def asyncio_client(site):
    async with aio.InferenceServerClient(site.url) as client:
        async def one(sequence):
            total = 0.0
            for k in range(1, 6):
                x = messages.inputs({"x": numpy.full((1, 2), k, "float32")})
                result = await client.infer(MODEL, x, sequence_id=sequence, sequence_start=k == 1, sequence_end=k == 5)
                total += k
                equal(float(result.as_numpy("sum")[0, 0]), total, f"sum of {sequence}")
        await asyncio.gather(*(one(f"aio-{n}") for n in range(20)))


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


CHECKS = [listed, whole_sequence, interleaved, kinds_of_id, wrong_ids, no_id, default_outputs, batch_of_two, start_and_end,
          failure_in_the_middle, many_at_once, unknown, continued_after_end, started_again]

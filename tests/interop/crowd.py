"""64 keep-alive connections with mixed lengths: every answer has the bits that the request gets alone."""

import http.client
import threading
import time

import numpy
from tritonclient.http import InferenceServerClient

import messages
import oracle
from checks import expect

CONNECTIONS = 64
SECONDS = 6.0
MOST_REQUESTS = 60_000
# a few networks of each kind whose batch and time are dynamic in every export
NETWORKS = ["lstm_ts20", "gru_ts18", "rnn_tanh_ts14", "char_model_ts17", "tagger_ts14", "lstm_2l_bi_old13", "gru_wide_ts17",
            "conv_lstm_ts17", "classifier_len_ts16", "attn_pool_old14", "heads_ts17", "norm_stack_ts17"]


def run(report, site):
    names = [n for n in NETWORKS if n in site.repository.golden]
    report.run("crowd.same_bits_as_alone", same_bits_as_alone, site, names)


def bodies(site, name):
    """Requests of one network as bytes on the wire: the stored sets, and random ones of other sizes."""
    for inputs, _ in oracle.sets(site.repository.golden[name]):
        yield _body(inputs)
    session = oracle.session(site.repository.file(name))
    random = numpy.random.RandomState(7)
    if "lengths" in [i.name for i in session.get_inputs()]:
        return  # lengths have to fit; the stored sets do
    for rows, steps in ((1, 1), (1, 4), (2, 9), (3, 17), (1, 40)):
        inputs = {}
        for item in session.get_inputs():
            dims = [{"B": rows, "T": steps}.get(d, d) for d in item.shape]
            inputs[item.name] = (random.randint(0, 8, dims).astype("int64") if item.type == "tensor(int64)"
                                 else random.normal(size=dims).astype("float32"))
        yield _body(inputs)


def _body(inputs):
    data, json_size = InferenceServerClient.generate_request_body(messages.inputs(inputs))
    return data, {"Inference-Header-Content-Length": str(json_size)} if json_size else {}


def ask(connection, name, body, headers):
    connection.request("POST", f"/v2/models/{name}/infer", body, headers)
    answer = connection.getresponse()
    payload = answer.read()
    if answer.status != 200:
        raise AssertionError(f"{name}: status {answer.status} {payload[:200]!r}")
    return payload


def same_bits_as_alone(site, names):
    expect(names, "none of the networks is in the repository")
    requests = [(name, *body) for name in names for body in bodies(site, name)]
    alone = http.client.HTTPConnection(site.url, timeout=120)
    want = [ask(alone, *request) for request in requests]
    alone.close()
    end = time.monotonic() + SECONDS
    done, faults, lock = [0], [], threading.Lock()

    def visitor(number):
        random = numpy.random.RandomState(number)
        connection = http.client.HTTPConnection(site.url, timeout=120)
        try:
            connection.connect()
            socket = connection.sock
            while time.monotonic() < end and done[0] < MOST_REQUESTS and not faults:
                k = random.randint(len(requests))
                got = ask(connection, *requests[k])
                if got != want[k]:
                    raise AssertionError(f"{requests[k][0]} request {k}: not the bytes that came alone")
                if connection.sock is not socket:
                    raise AssertionError("the connection was not kept alive")
                with lock:
                    done[0] += 1
        except Exception as error:
            faults.append(f"connection {number}: {type(error).__name__} {error}")
        finally:
            connection.close()

    threads = [threading.Thread(target=visitor, args=(k,)) for k in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 240)
    expect(not faults, f"{len(faults)} connections failed; first: {faults[:1]}")
    expect(done[0] >= 10 * CONNECTIONS, f"only {done[0]} answers in {SECONDS} s")
    print(f"crowd: {done[0]} answers on {CONNECTIONS} connections in {SECONDS} s, {len(requests)} different requests", flush=True)

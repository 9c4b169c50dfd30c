"""Every datatype of the protocol through an Identity model, binary and JSON, compressed and not."""

import json
import urllib.error
import urllib.request

import numpy
from tritonclient.http import InferenceServerClient

import messages
from checks import equal
from closeness import same_bits
from metadata_calls import refused
from probe_models import DATATYPES

BINARY_ONLY = {"FP16", "BF16"}
WORDS = ["", "a", "two words", "\u00fc\u00df \u6f22 \U0001f600", "nul\0inside", "quote\" back\\slash \n\t\x7f"]


def run(report, site):
    with InferenceServerClient(site.url, network_timeout=120.0) as client:
        for datatype in DATATYPES:
            for binary in (True, False):
                if binary or datatype not in BINARY_ONLY:
                    report.run(f"datatype.{datatype}.{'binary' if binary else 'json'}", round_trip, client, datatype, binary)
        report.run("datatype.BYTES.not_utf8", raw_bytes, client)
        report.run("datatype.empty", empty, client)
        report.run("datatype.out_of_range", out_of_range, site)


def values(datatype):
    numpy_type = DATATYPES[datatype][1]
    if datatype == "BYTES":
        return numpy.array([[w.encode() for w in WORDS]], dtype=numpy.object_)
    if datatype == "BOOL":
        return numpy.array([[True, False, True]])
    if datatype == "BF16":
        return numpy.array([[1.0, -0.0, 3.0e38, 0.0078125, -1e-38]], numpy_type)
    if numpy.dtype(numpy_type).kind == "f":
        limits = numpy.finfo(numpy_type)
        return numpy.array([[0, -0.0, 1.5, limits.max, limits.min, limits.tiny, limits.eps]], numpy_type)
    limits = numpy.iinfo(numpy_type)
    return numpy.array([[0, 1, limits.max, limits.min, limits.max // 3]], numpy_type)


def round_trip(client, datatype, binary):
    sent = values(datatype)
    for coding in (None, "gzip", "deflate"):
        result = client.infer("identity_" + datatype.lower(), messages.inputs({"x": sent}, binary, {"x": datatype}),
                              outputs=messages.outputs(["y"], binary), request_compression_algorithm=coding,
                              response_compression_algorithm=coding)
        equal(result.get_output("y")["datatype"], datatype, "datatype")
        got = result.as_numpy("y")
        if datatype == "BYTES":
            told = [w if isinstance(w, bytes) else w.encode() for w in got.reshape(-1)]
            equal(told, list(sent.reshape(-1)), "texts")
        else:
            same_bits(got, sent, f"{datatype}, coding {coding}")


def raw_bytes(client):
    """Binary BYTES need not be text."""
    sent = numpy.array([[bytes(range(256)), b"\xff\xfe", b""]], dtype=numpy.object_)
    result = client.infer("identity_bytes", messages.inputs({"x": sent}), outputs=messages.outputs(["y"]))
    equal(list(result.as_numpy("y").reshape(-1)), list(sent.reshape(-1)), "bytes")


def empty(client):
    for datatype, (_, numpy_type) in DATATYPES.items():
        sent = numpy.zeros((0, 4), numpy_type)
        result = client.infer("identity_" + datatype.lower(), messages.inputs({"x": sent}, True, {"x": datatype}))
        equal(list(result.get_output("y")["shape"]), [0, 4], f"shape of no {datatype}")


def out_of_range(site):
    """JSON integers that the type cannot hold are refused, not wrapped."""
    for datatype, value in (("INT8", 300), ("UINT8", -1), ("INT32", 2**31), ("UINT64", 2**64), ("INT64", -2**63 - 1)):
        body = {"inputs": [{"name": "x", "datatype": datatype, "shape": [1, 1], "data": [value]}]}
        request = urllib.request.Request(f"http://{site.url}/v2/models/identity_{datatype.lower()}/infer", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                raise AssertionError(f"{value} was taken as {datatype}: {answer.read()[:80]}")
        except urllib.error.HTTPError as error:
            equal(error.code, 400, f"status of {value} as {datatype}")

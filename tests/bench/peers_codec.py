"""peers_codec.py - 2 million float32 numbers as JSON. First the round trip over HTTP through a model that negates them, recurd
and FastAPI with ONNX Runtime in turns; then parsing and printing alone: recurd's codec and jansson (the program of
`./dev bench codec`, whole infer bodies), Python's libraries (to a list and to an array; from both). Medians. Writes
build/bench/peers-codec.json and .png."""

import json
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "rig"))
import networks  # noqa: E402
import numpy as np  # noqa: E402
import peer_servers  # noqa: E402
import programs  # noqa: E402
import workload  # noqa: E402

COUNT, ROUNDS, SECONDS = 2_000_000, 5, 4


def negate():
    from onnx import TensorProto, helper

    def value(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"])

    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negate", [value("x")], [value("y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", networks.OPSET)], ir_version=8)


def numbers():
    """float32, each with as few digits as tell it from its neighbours."""
    x = np.random.default_rng(1).standard_normal(COUNT).astype(np.float32)
    return x, "[" + ",".join(map(str, x)) + "]"


def round_trips(text, rounds):
    models = programs.folder("peers-codec-models")
    (models / "negate" / "1").mkdir(parents=True)
    path = models / "negate" / "1" / "model.onnx"
    networks.onnx.save(negate(), str(path))
    body = ('{"inputs":[{"name":"x","datatype":"FP32","shape":[%d],"data":%s}]}' % (COUNT, text)).encode()
    head = ("POST /v2/models/negate/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n")
    work = workload.write(programs.OUT / "peers-codec.load", workload.Class("all", 1, [(1, head.encode() + body)]))
    servers, seen = [], {}
    try:
        recurd = programs.Recurd("peers-recurd", models, "--server-max-body", "256M")
        recurd.name = "recurd"
        web = peer_servers.python("web", *peer_servers.WEB)
        servers = [recurd, *peer_servers.start([
            lambda kind=kind: peer_servers.Peer(f"FastAPI and ONNX Runtime, {kind}",
                                               [web, peer_servers.PEERS / "fastapi_echo.py", "PORT", path, kind])
            for kind in ("json", "orjson")])]
        for turn in range(rounds):
            for server in servers:
                programs.say(f"round trip, {server.name}, round {turn + 1} of {rounds}")
                r = programs.load(server, work, "--connections", 1, "--seconds", SECONDS, "--warm", 0)
                if set(r["statuses"]) != {"200"}:
                    raise SystemExit(f"{server.name}: {r['statuses']}")
                seen.setdefault(server.name, []).append(r["classes"]["all"]["p50_us"] / 1e3)
    finally:
        for server in servers:
            server.stop()
    return {name: programs.median(ms) for name, ms in seen.items()}


def timed(f):
    start = time.perf_counter()
    f()
    return (time.perf_counter() - start) * 1e9 / COUNT


def in_c():
    """ns a number of recurd's codec and of jansson: (in, out) of each"""
    done = subprocess.run([programs.BUILD / "tests" / "bench" / "codec", str(COUNT)], capture_output=True, text=True, check=True)
    row = next(line.split() for line in done.stdout.splitlines() if "shortest" in line)
    into, out = float(row[4]), float(row[8])  # numbers, text, ratio, x, ns, MB/s, ratio, x, ns
    return (into, out), (float(row[2]) * into, float(row[6]) * out)


def libraries(x, text, rounds):
    import orjson
    import rapidjson

    raw, as_list = text.encode(), x.tolist()
    calls = {("parse to a list", "json"): lambda: json.loads(raw), ("parse to a list", "orjson"): lambda: orjson.loads(raw),
             ("parse to a list", "RapidJSON"): lambda: rapidjson.loads(raw),
             ("parse to a float32 array", "orjson"): lambda: np.array(orjson.loads(raw), np.float32),
             ("print a float32 array", "orjson"): lambda: orjson.dumps(x, option=orjson.OPT_SERIALIZE_NUMPY),
             ("print a list of doubles", "orjson"): lambda: orjson.dumps(as_list),
             ("print a list of doubles", "json"): lambda: json.dumps(as_list),
             ("print a list of doubles", "RapidJSON"): lambda: rapidjson.dumps(as_list)}
    seen = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            seen[key].append(timed(call))
    ours, jansson = in_c()
    return {("parse to a float32 array", "recurd"): ours[0], ("print a float32 array", "recurd"): ours[1],
            ("parse to a tree", "jansson"): jansson[0], ("print a tree", "jansson"): jansson[1],
            **{key: programs.median(values) for key, values in seen.items()}}


def draw(trips, alone, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4), layout="constrained")
    left.barh(list(trips), list(trips.values()))
    left.set_xlabel(f"ms for {COUNT} numbers there and back")
    right.barh([f"{what}, {name}" for what, name in alone], list(alone.values()))
    right.set_xlabel("ns a number")
    for panel in (left, right):
        panel.set_xscale("log")
        panel.grid(axis="x", alpha=0.3)
        panel.invert_yaxis()
    figure.savefig(path, dpi=90)


def main():
    rounds = 1 if "--quick" in sys.argv else ROUNDS
    x, text = numbers()
    trips = round_trips(text, rounds)
    print(f"{COUNT} float32 as JSON ({len(text) / 1e6:.0f} MB) there and back, medians of {rounds}")
    print(f"{'ratio':>7} {'ms':>8}")
    for name, ms in trips.items():
        print(f"{ms / trips['recurd']:7.1f} {ms:8.0f}  {name}")
    alone = libraries(x, text, rounds)
    print(f"\n{'ratio':>7} {'ns a number':>12}")
    for (what, name), ns in alone.items():
        ours = next(v for (w, n), v in alone.items() if n == "recurd" and w[:5] == what[:5])
        print(f"{ns / ours:7.1f} {ns:12.1f}  {what}, {name}")
    draw(trips, alone, programs.OUT / "peers-codec.png")
    (programs.OUT / "peers-codec.json").write_text(json.dumps(
        {"round_trip_ms": trips, "ns_a_number": {f"{what}, {name}": ns for (what, name), ns in alone.items()}}, indent=2) + "\n")


if __name__ == "__main__":
    main()

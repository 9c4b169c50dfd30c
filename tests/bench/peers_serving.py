"""peers_serving.py - session steps per second of a 1 x 256 LSTM (64 inputs, 32 outputs), as JSON and as binary, with 1 to
256 connections: recurd, the servers that people write around PyTorch and ONNX Runtime (tests/bench/peers), whole model
servers that install here, and libmicrohttpd that answers a constant. All take turns in one run; medians of the rounds.
Writes build/bench/peers-serving.json and .png. --quick: one round, 64 connections."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "rig"))
import networks  # noqa: E402
import numpy as np  # noqa: E402
import peer_servers  # noqa: E402
import programs  # noqa: E402
import workload  # noqa: E402

CONNECTIONS = (1, 8, 64, 256)
ROUNDS, SECONDS, WARM = 5, 0.8, 0.3
FORMS = {"json": False, "binary": True}


def step(binary, rename=()):
    """A session step; `rename`: pairs of names of equal length, where a peer wants others."""
    text = workload.infer("lstm", networks.LSTM, 1, 0, binary, session=True)
    for ours, theirs in rename:
        text = text.replace(ours, theirs)
    return text


def write(form, binary, n, rename):
    path = programs.OUT / f"peers-{form}-{n}{'-renamed' if rename else ''}.load"
    return workload.write(path, workload.Class("step", 1, [(1, step(binary, rename))], n))


def measure(server, path, connections):
    result = programs.load(server, path, "--connections", connections, "--bound", "--seconds", SECONDS, "--warm", WARM)
    if set(result["statuses"]) - {"200"} or result["lost"]:
        raise SystemExit(f"{server.name}: not all steps succeeded: {result['statuses']}, {result['lost']} lost")
    k = result["classes"]["step"]
    return {"per_s": result["answered_per_s"], "p50_us": k["p50_us"], "p99_us": k["p99_us"]}


def first_answer(server, binary):
    """(size, headers) of the answer to a first step, for the ceiling; every contestant's numbers are compared with it."""
    text = step(binary, server.rename).replace(workload.ID.encode(), b"7".rjust(20)).replace(workload.START.encode(), b"true ")
    head, body = text.split(b"\r\n\r\n", 1)
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    status, answer, got = server.call("POST", "/v2/models/lstm/infer", body, headers)
    if status != 200:
        raise SystemExit(f"{server.name}: a step is answered with {status}: {answer[:200]}")
    size = int({k.lower(): v for k, v in got.items()}.get("inference-header-content-length", len(answer)))
    out = json.loads(answer[:size])["outputs"][0]
    y = np.array(out["data"], "f4") if "data" in out else np.frombuffer(answer[size:], "f4")
    keep = ("content-type", "inference-header-content-length", "x-request-id")
    return y.ravel(), len(answer), [f"{k}:{v}" for k, v in got.items() if k.lower() in keep]


def run_form(form, binary, servers, connections, rounds, seen):
    want, size, headers = first_answer(servers[0], binary)
    for server in servers[1:]:
        if binary and not server.binary:
            continue
        far = float(abs(first_answer(server, binary)[0] - want).max())
        if far > 1e-4:
            raise SystemExit(f"{server.name} answers other numbers: {far:.1e} away")
    with programs.Ceiling(size, *headers) as ceiling:
        ceiling.name, ceiling.binary, ceiling.rename = "libmicrohttpd, a constant", True, ()
        for turn in range(rounds):
            for n in connections:
                programs.say(f"{form}, {n} connections, round {turn + 1} of {rounds}")
                for server in [*servers, ceiling]:
                    if server.binary or not binary:
                        seen.setdefault((form, n, server.name), []).append(measure(server, write(form, binary, n, server.rename), n))


def main():
    quick = "--quick" in sys.argv
    connections, rounds = ((64,), 1) if quick else (CONNECTIONS, ROUNDS)
    models = programs.folder("peers-models")
    networks.put(models, "lstm", networks.LSTM)
    seen = {}
    servers = []
    try:
        recurd = programs.Recurd("peers-recurd", models)
        recurd.name, recurd.binary, recurd.rename = "recurd", True, ()
        servers = [recurd, *peer_servers.serving(models / "lstm" / "1" / "model.onnx")]
        for form, binary in FORMS.items():
            run_form(form, binary, servers, connections, rounds, seen)
    finally:
        for server in servers:
            server.stop()
    table = {}
    for (form, n, name), results in seen.items():
        table.setdefault(form, {}).setdefault(n, {})[name] = {
            key: programs.median([r[key] for r in results]) for key in results[0]}
    (programs.OUT / "peers-serving.json").write_text(json.dumps(table, indent=2) + "\n")
    print(f"session steps of a 1 x 256 LSTM; ratio: recurd's rate over theirs; medians of {rounds}")
    for form, cells in table.items():
        for n, cell in cells.items():
            print(f"\n{form}, {n} connection{'s' if n > 1 else ''}\n{'ratio':>8} {'steps/s':>9} {'p50 us':>9} {'p99 us':>9}")
            for name, r in sorted(cell.items(), key=lambda kv: -kv[1]["per_s"]):
                ratio = cell["recurd"]["per_s"] / r["per_s"] if r["per_s"] else float("inf")  # one that answered nothing
                print(f"{ratio:8.2f} {r['per_s']:9.0f} {r['p50_us']:9.0f} {r['p99_us']:9.0f}"
                      f"  {name}")
    peer_servers.draw_bars(table, programs.OUT / "peers-serving.png")


if __name__ == "__main__":
    main()

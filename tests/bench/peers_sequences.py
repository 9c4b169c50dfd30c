"""peers_sequences.py - whole sequences of mixed lengths (1 to 128 steps, 64 on average) through a 1 x 256 LSTM, binary, open
loop: Poisson arrivals at the same rates for recurd and for the servers that people write around PyTorch and ONNX Runtime
(which pad a micro-batch to its longest sequence and know the lengths). Medians of the rounds; latencies count from the
arrival. What a server does not answer within the limit is no goodput. Writes build/bench/peers-sequences.json and .png."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "rig"))
import networks  # noqa: E402
import numpy as np  # noqa: E402
import peer_servers  # noqa: E402
import programs  # noqa: E402
import workload  # noqa: E402

RATES = (50, 200, 400, 800, 1600, 3200)
ROUNDS, SECONDS, WARM, DRAIN, POOL, WITHIN_MS = 5, 1.5, 0.3, 1, 256, 50
LONGEST, KINDS = 128, 64
LOST = 0.5  # a server that answers less than half of a rate in time is not asked for more


def write_mix():
    lengths = np.random.default_rng(1).integers(1, LONGEST, KINDS)
    return workload.write(programs.OUT / "peers-sequences.load", workload.Class(
        "sequence", 1, [(int(n), workload.infer("lstm", networks.LSTM, int(n), i)) for i, n in enumerate(lengths)]))


def measure(server, mix, rate, turn):
    r = programs.load(server, mix, "--rate", rate, "--connections", POOL, "--seconds", SECONDS, "--warm", WARM,
                      "--drain", DRAIN, "--seed", turn, "--within-us", WITHIN_MS * 1000)
    k = r["classes"]["sequence"]
    return {"goodput_per_s": k["within"] / r["seconds"], "p50_ms": k["p50_us"] / 1e3, "p99_ms": k["p99_us"] / 1e3}


def draw(table, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for name, cells in table.items():
        rates = sorted(cells)
        left.plot(rates, [cells[r]["p99_ms"] for r in rates], marker="o", label=name)
        right.plot(rates, [cells[r]["goodput_per_s"] for r in rates], marker="o", label=name)
    left.set_title("99th percentile of the latency, ms")
    left.axhline(WITHIN_MS, color="grey", linestyle=":")
    left.set_yscale("log")
    right.set_title(f"answers within {WITHIN_MS} ms, per second")
    right.plot(RATES, RATES, color="grey", linestyle=":", label="all")
    right.set_yscale("log")
    for panel in (left, right):
        panel.set_xscale("log")
        panel.set_xlabel("arrivals per second")
        panel.grid(alpha=0.3)
    right.legend(fontsize=8)
    figure.savefig(path, dpi=90)


def main():
    rates, rounds = ((200, 800), 1) if "--quick" in sys.argv else (RATES, ROUNDS)
    models, mix = programs.folder("peers-sequence-models"), write_mix()
    networks.put(models, "lstm", networks.LSTM)
    padded = programs.OUT / "padded.onnx"
    networks.onnx.save(networks.onnx_model(networks.LSTM, lengths=True), str(padded))
    seen, servers, out = {}, [], set()
    try:
        recurd = programs.Recurd("peers-recurd", models)
        recurd.name = "recurd"
        servers = [recurd, *peer_servers.start(peer_servers.own_servers(padded, 1))]
        for turn in range(rounds):
            for rate in rates:
                programs.say(f"{rate} sequences/s, round {turn + 1} of {rounds}")
                for server in servers:
                    if (server.name, rate) in out:
                        continue
                    result = measure(server, mix, rate, turn)
                    seen.setdefault(server.name, {}).setdefault(rate, []).append(result)
                    if result["goodput_per_s"] < LOST * rate:
                        out |= {(server.name, r) for r in rates if r > rate}
    finally:
        for server in servers:
            server.stop()
    table = {name: {rate: {key: programs.median([r[key] for r in results]) for key in results[0]}
                    for rate, results in cells.items()} for name, cells in seen.items()}
    print(f"sequences of 1 to {LONGEST} steps, 1 x 256 LSTM, open loop, medians of {rounds}")
    print("ratio: recurd's answers in time over theirs")
    print(f"{'ratio':>7} {'rate/s':>7} {'goodput/s':>10} {'p50 ms':>8} {'p99 ms':>8}")
    for rate in rates:
        for name, cells in table.items():
            if rate in cells:
                r = cells[rate]
                ratio = table["recurd"][rate]["goodput_per_s"] / max(r["goodput_per_s"], 1) if rate in table["recurd"] else 0
                print(f"{ratio:7.2f} {rate:7} {r['goodput_per_s']:10.0f} {r['p50_ms']:8.1f} {r['p99_ms']:8.1f}  {name}")
    best = {name: max(r["goodput_per_s"] for r in cells.values()) for name, cells in table.items()}
    print("most answers in time, ratio of recurd to theirs: "
          + ", ".join(f"{best['recurd'] / v:.1f} {name}" for name, v in best.items() if name != "recurd"))
    (programs.OUT / "peers-sequences.json").write_text(json.dumps(table, indent=2) + "\n")
    draw(table, programs.OUT / "peers-sequences.png")


if __name__ == "__main__":
    main()

"""batching.py - what joining and leaving a batch between time steps is worth: Poisson arrivals of whole sequences of 5
to 500 steps (log-uniform) and of single steps of 200 sessions, at several shares of the capacity, against the same
daemon with request-level batching (batching.mode = request). The two take turns, with the same arrivals; medians of
the repetitions. Latencies count from the arrival. Writes build/bench/batching.json and batching.png."""

import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "rig"))
import latency_plot  # noqa: E402
import networks  # noqa: E402
import programs  # noqa: E402
import workload  # noqa: E402

MODES = ("continuous", "request")
SHARES = (0.3, 0.5, 0.7, 0.85, 0.95)
REPEATS, SECONDS, WARM, DRAIN, POOL, BUSY = 3, 3.0, 0.5, 3, 512, 128
SHORTEST, LONGEST, SHORT, LENGTHS = 5, 500, 20, 96
SESSIONS, SEQUENCES = 200, 0.3  # sessions; share of the arrivals that are whole sequences
WITHIN_MS = 50  # an answer later than this is no goodput
WITHIN_S = 190  # what was disturbed is measured again up to then
CLASSES = {"short": f"sequences of {SHORTEST} to {SHORT} steps",
           "long": f"sequences of {SHORT + 1} to {LONGEST} steps", "step": f"steps of {SESSIONS} sessions"}


def lengths():
    """Log-uniform, in equal shares."""
    return [round(SHORTEST * (LONGEST / SHORTEST) ** ((i + 0.5) / LENGTHS)) for i in range(LENGTHS)]


def write_mix(path):
    def sequences(chosen):
        return [(n, workload.infer("lstm", networks.LSTM, n, n)) for n in chosen]

    short, long = [n for n in lengths() if n <= SHORT], [n for n in lengths() if n > SHORT]
    step = [(1, workload.infer("lstm", networks.LSTM, 1, seed, session=True)) for seed in range(16)]
    return workload.write(path, workload.Class("short", SEQUENCES * len(short) / LENGTHS, sequences(short)),
                          workload.Class("long", SEQUENCES * len(long) / LENGTHS, sequences(long)),
                          workload.Class("step", 1 - SEQUENCES, step, SESSIONS))


def capacity(servers, mix):
    """Answers per second of each with connections that never pause: the better of two measurements."""
    best = dict.fromkeys(MODES, 0.0)
    for turn in range(2):
        for mode in MODES:
            got = programs.load(servers[mode], mix, "--connections", BUSY, "--seconds", 2, "--warm", 0.3, "--seed", turn)
            best[mode] = max(best[mode], got["answered_per_s"])
    return best


def run_all(servers, mix, top, watch):
    """{(mode, share): [results]}"""
    def measure(modes, turn, share):
        return {mode: programs.load(servers[mode], mix, "--rate", share * top, "--connections", POOL, "--seconds", SECONDS,
                                    "--warm", WARM, "--drain", DRAIN, "--seed", 100 * turn + SHARES.index(share),
                                    "--within-us", WITHIN_MS * 1000) for mode in modes}

    seen = {(mode, share): [] for mode in MODES for share in SHARES}
    for turn in range(REPEATS):
        for share in SHARES:
            programs.say(f"{share:.0%} of {top:.0f} arrivals/s, round {turn + 1} of {REPEATS}")
            for mode, result in watch(measure, MODES if turn % 2 == 0 else MODES[::-1], turn, share).items():
                seen[mode, share].append(result)
    return seen


def summary(results):
    """Medians over the repetitions."""
    out = {key: programs.median([r[key] for r in results]) for key in ("answered_per_s", "units_per_s", "unanswered")}
    out["refused"] = programs.median([sum(n for s, n in r["statuses"].items() if s != "200") for r in results])
    out["goodput_per_s"] = programs.median([sum(k["within"] for k in r["classes"].values()) / r["seconds"]
                                            for r in results])
    for name in CLASSES:
        out[name] = {key: programs.median([r["classes"][name][key] / 1e3 for r in results])
                     for key in ("p50_us", "p90_us", "p99_us", "max_us")}
        out[name] = {key.replace("_us", "_ms"): value for key, value in out[name].items()}
    return out


def print_table(table):
    print(f"p50 / p99 in ms from arrival, medians of {REPEATS}; \"better\": p99 with request-level batching over p99 with "
          "continuous")
    print(f"{'load':>5} {'class':6} {'better':>7}  {'continuous':>15}  {'request':>15}   "
          f"goodput/s (answers within {WITHIN_MS} ms) continuous, request")
    for share in SHARES:
        c, r = (table[f"{share}"][mode] for mode in MODES)
        for name in CLASSES:
            goodput = f"{c['goodput_per_s']:9.0f} {r['goodput_per_s']:9.0f}" if name == "short" else ""
            print(f"{share:5.0%} {name:6} {r[name]['p99_ms'] / c[name]['p99_ms']:6.1f}x "
                  + "  ".join(f"{x[name]['p50_ms']:7.2f} /{x[name]['p99_ms']:7.1f}" for x in (c, r)) + f"   {goodput}")
        if c["refused"] or r["refused"]:
            print(f"      refused (429, 504): {c['refused']:.0f} continuous, {r['refused']:.0f} request")


def main():
    models = programs.folder("batching-models")
    networks.put(models, "lstm", networks.LSTM, sessions={"durable": "none"})
    mix = write_mix(programs.OUT / "batching.load")
    servers, watch = {}, programs.Watch(WITHIN_S)
    try:
        for mode in MODES:
            servers[mode] = programs.Recurd(f"batching-{mode}", models, "--batching-mode", mode)
        programs.say("capacity")
        most = watch(capacity, servers, mix)
        top = min(most.values())
        print(f"capacity, arrivals/s with {BUSY} connections that never pause: "
              + ", ".join(f"{mode} {most[mode]:.0f}" for mode in MODES)
              + f"; loads are shares of {top:.0f}")
        seen = run_all(servers, mix, top, watch)
    finally:
        for server in servers.values():
            server.stop()
    table = {f"{share}": {mode: summary(seen[mode, share]) for mode in MODES} for share in SHARES}
    print_table(table)
    print(watch.text())
    steps = sum(lengths()) / LENGTHS * SEQUENCES + 1 - SEQUENCES
    result = {"capacity_per_s": most, "steps_per_arrival": steps, "within_ms": WITHIN_MS, "classes": CLASSES,
              "loads": table}
    if not all(math.isfinite(x[n]["p99_ms"]) for t in table.values() for x in t.values() for n in CLASSES):
        raise SystemExit("a class without answers")
    (programs.OUT / "batching.json").write_text(json.dumps(result, indent=2) + "\n")
    latency_plot.draw(result, top, programs.OUT / "batching.png")


main()

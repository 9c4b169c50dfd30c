"""peers_kernels.py - LSTM and GRU layers in recurd's engine, ONNX Runtime, PyTorch and a plain loop over OpenBLAS, in turns.

For every cell of the grid (kind, layers x hidden, batch, steps) and each number of threads: medians of the rounds, the
ratio to the faster of ONNX Runtime and PyTorch, and the share of what this machine can do, measured in the same rounds:
`fma`, of the multiply-adds that run in registers; `read`, batch 1 with weights beyond the second-level cache: of the time
in which the weights could be read from where they are. Python is between the clock and the peers' C++ (some
microseconds a run), not between the clock and recurd.

--threads 1,2  --rounds N  --grid all|bars|odd (bars: the cells of the bars on shares; odd: sizes outside the grid)
--only LSTM-2x1024,...  --batch 1,64  --steps 1,16  --plain (the OpenBLAS loop too)  --clock cpu (one thread: CPU time,
for a machine that others use as well; the limits are always taken so)"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "rig"))
LAYERS = [(1, 128), (1, 256), (2, 512), (2, 1024)]
ODD_LAYERS, ODD_BATCH = [(1, 100), (2, 333), (1, 768)], [3, 17, 100]
BATCH, STEPS = [1, 4, 8, 16, 32, 64], [1, 16, 64]
ROUND_S = 0.012
CALM_S = 0.03  # threads of the peers' pools spin for some milliseconds after a run
L2_BYTES = 1 << 20
READS = {"L2": 1 << 19, "L3": 1 << 23, "memory": 1 << 28}  # bytes that one thread reads again and again


def options():
    numbers = lambda text: [int(n) for n in text.split(",")]  # noqa: E731
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--threads", type=numbers, default=[1, 2])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--grid", choices=["all", "bars", "odd"], default="all")
    p.add_argument("--only", type=lambda t: t.split(","))
    p.add_argument("--batch", type=numbers)
    p.add_argument("--steps", type=numbers, default=STEPS)
    p.add_argument("--plain", action="store_true")
    p.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    p.add_argument("--one", action="store_true", help=argparse.SUPPRESS)  # a child: one number of threads
    return p.parse_args()


def in_turns(contestants, limits, asked, o):
    """{name: median} and {name: best}: seconds of a run, and what the machine did meanwhile (a rate)."""
    times = {name: [] for name in [*contestants, *asked]}
    counts, clock = {}, int(o.clock == "cpu" and o.threads == [1])
    for name, c in contestants.items():
        once = c.run(1)[clock]
        if once < ROUND_S:  # else that was enough to warm up
            once = min(c.run(1), c.run(1))[clock]
        counts[name] = max(1, math.ceil(ROUND_S / max(once, 1e-7)))
    for _ in range(o.rounds):
        for name, c in contestants.items():
            time.sleep(CALM_S if o.threads != [1] else 0)
            times[name].append(c.run(counts[name])[clock] / counts[name])
        for name, ask in asked.items():
            times[name].append(ask(limits))
    best = {name: max(v) if name in asked else min(v) for name, v in times.items()}
    return {name: statistics.median(v) for name, v in times.items()}, best


def bound_s(model, steps, got):
    """Batch 1: every matrix is read once, and the recurrent ones again at each further step."""
    total = 2 * model.layers * model.matrix_bytes()
    if steps == 1:
        return total / got["read all"]
    projection = model.layers * max(model.matrix_bytes() / got["read all"],
                                    2 * model.matrix_bytes() / 4 * steps / got["fma"])
    return projection + model.layers * steps * model.matrix_bytes() / got["read one"]


def cell(model, contestants, limits, batch, steps, o):
    threads = o.threads[0]
    for c in contestants.values():
        c.prepare(batch, steps)
    asked = {"fma": lambda m: m.flops()}
    total = 2 * model.layers * model.matrix_bytes()
    beyond = batch == 1 and (total if steps == 1 else model.matrix_bytes()) > L2_BYTES
    if beyond:
        asked["read all"] = lambda m: m.read(total)
        asked["read one"] = lambda m: m.read(model.matrix_bytes())
    got, best = in_turns(contestants, limits, asked, o)
    peers = [n for n in contestants if n in ("onnxruntime", "torch", "torch frozen")]
    peer = min(peers, key=got.get)
    row = {"kind": model.kind, "layers": model.layers, "hidden": model.hidden, "batch": batch, "steps": steps,
           "threads": threads, "best peer": peer, "ratio": got[peer] / got["recurd"],
           "us": {n: 1e6 * got[n] for n in contestants},
           "of fma": model.flops(batch, steps) / got["recurd"] / got["fma"] / threads, "gflops peak": got["fma"] / 1e9,
           "best rounds": {"ratio": min(best[n] for n in peers) / best["recurd"],
                           "of fma": model.flops(batch, steps) / best["recurd"] / best["fma"] / threads}}
    if beyond:
        row["of read"] = bound_s(model, steps, got) / got["recurd"]
        row["read GB/s"] = {"all": got["read all"] / 1e9, "one": got["read one"] / 1e9}
    return row


def line(r):
    times = "  ".join(f"{n} {t:.1f}" for n, t in r["us"].items())
    read = f"{100 * r['of read']:4.0f}%" if "of read" in r else "     "
    return (f"{r['ratio']:6.2f}x {r['kind']:4} {r['layers']}x{r['hidden']:<5} {r['batch']:4} {r['steps']:4} "
            f"{r['threads']:3}  {100 * r['of fma']:4.0f}% {read}  {times}")


def wanted(o):
    layers = ODD_LAYERS if o.grid == "odd" else LAYERS
    batch = o.batch or {"all": BATCH, "bars": [1, 32, 64], "odd": ODD_BATCH}[o.grid]
    for kind in ("LSTM", "GRU"):
        for n, hidden in layers:
            if not o.only or f"{kind}-{n}x{hidden}" in o.only:
                yield kind, n, hidden, batch


def one_child(o):
    import layer_peers as peers
    import numpy as np
    threads, limits, rows, machine = o.threads[0], peers.Limits(), [], {}
    for kind, layers, hidden, batches in wanted(o):
        model = peers.Model(kind, layers, hidden)
        contestants = {"recurd": peers.Recurd(model, threads), "onnxruntime": peers.OnnxRuntime(model, threads),
                       "torch": peers.Torch(model, threads), "torch frozen": peers.TorchFrozen(model, threads)}
        if o.plain:
            contestants["openblas"] = peers.OpenBlas(model, threads)
        for c in contestants.values():
            c.prepare(3, 4)
        far = float(np.abs(contestants["recurd"].answer() - contestants["torch"].answer()).max())
        if far > 1e-5:
            raise SystemExit(f"{kind} {layers}x{hidden}: recurd and PyTorch differ by {far}")
        for name, n_bytes in READS.items():
            machine.setdefault(name, []).append(limits.read(n_bytes) / 1e9)
        machine.setdefault("fma", []).append(limits.flops() / 1e9)
        for batch in batches:
            for steps in o.steps:
                rows.append(cell(model, contestants, limits, batch, steps, o))
                print(line(rows[-1]), flush=True)
        for c in contestants.values():
            c.close()
    limits.close()
    machine = {name: statistics.median(v) for name, v in machine.items()}
    out(threads).write_text(json.dumps({"machine": machine, "cells": rows}, indent=1))


def out(name):
    import programs
    programs.OUT.mkdir(parents=True, exist_ok=True)
    return programs.OUT / f"peers-kernels-{name}.json"


def summary(rows):
    for threads in sorted({r["threads"] for r in rows}):
        mine = [r for r in rows if r["threads"] == threads]
        peak = statistics.median(r["gflops peak"] for r in mine)
        for what, ratios in (("", [r["ratio"] for r in mine]),
                             ("; each one's best round, as others disturb", [r["best rounds"]["ratio"] for r in mine])):
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            print(f"{threads} thread{'s' if threads > 1 else ''}{what}: {len(mine)} cells, ratio {mean:.2f}x (geometric mean), "
                  f"least {min(ratios):.2f}x, {sum(r < 1.15 for r in ratios)} below 1.15x; peak {peak:.0f} GFLOP/s a thread")
        for name, some in (("batch >= 32, of fma", [r["of fma"] for r in mine if r["batch"] >= 32]),
                           ("the same, best rounds", [r["best rounds"]["of fma"] for r in mine if r["batch"] >= 32]),
                           ("batch 1 beyond L2, of read", [r["of read"] for r in mine if "of read" in r])):
            if some:
                print(f"  {name}: {100 * statistics.median(some):.0f} % (median), {100 * min(some):.0f} to "
                      f"{100 * max(some):.0f} %")


def plot(rows):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    threads = sorted({r["threads"] for r in rows})
    figure, axes = plt.subplots(1, len(threads), figsize=(7 * len(threads), 10), squeeze=False)
    for axis, n in zip(axes[0], threads):
        mine = [r for r in rows if r["threads"] == n]
        nets = sorted({(r["kind"], r["layers"], r["hidden"], r["steps"]) for r in mine})
        batches = sorted({r["batch"] for r in mine})
        grid = [[next((r["ratio"] for r in mine if (r["kind"], r["layers"], r["hidden"], r["steps"], r["batch"]) ==
                       (*net, b)), math.nan) for b in batches] for net in nets]
        axis.imshow(grid, aspect="auto", cmap="RdYlGn", vmin=0, vmax=3)
        axis.set_xticks(range(len(batches)), batches)
        axis.set_yticks(range(len(nets)), [f"{k} {a}x{h}, {s} steps" for k, a, h, s in nets])
        axis.set_xlabel("batch")
        axis.set_title(f"times the best peer, threads: {n}")
        for y, values in enumerate(grid):
            for x, value in enumerate(values):
                axis.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8)
    figure.tight_layout()
    figure.savefig(str(out("all").with_suffix(".png")), dpi=110)


def main():
    o = options()
    if o.one:
        one_child(o)
        return
    rows, machines = [], {}
    print("  ratio kind layers batch steps threads  of fma, of read; microseconds of a run")
    for threads in o.threads:
        env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
        env.update({k: str(threads) for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")})
        command = [sys.executable, *sys.argv, "--one", "--threads", str(threads)]
        subprocess.run(command, env=env, check=True)
        got = json.loads(out(threads).read_text())
        rows += got["cells"]
        machines[threads] = got["machine"]
    out("all").write_text(json.dumps({"machine": machines, "cells": rows}, indent=1))
    for threads, m in machines.items():
        print(f"this machine, one thread, while {threads} ran: multiply-adds {m['fma']:.0f} GFLOP/s; reading from L2 "
              f"{m['L2']:.0f} GB/s, L3 {m['L3']:.1f}, memory {m['memory']:.1f}")
    summary(rows)
    plot(rows)


if __name__ == "__main__":
    main()

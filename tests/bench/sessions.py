"""sessions.py - one million sessions of a GRU with 64 units against one thousand: steps per second (a random session
each), and what a session takes beside its state in the daemon's resident memory. Two daemons in one run, taking turns;
with sessions in the process only (none), with durable = process in a runtime directory on tmpfs, as the systemd unit
has it (a folder of /dev/shm, gone at the end; the state directory is build/bench/state), and in the state directory alone."""

import json
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "rig"))
import networks  # noqa: E402
import programs  # noqa: E402
import workload  # noqa: E402

FEW, MANY = 1000, 1000000
CONNECTIONS, ROUNDS, SECONDS, WARM = 64, 7, 1.2, 0.2
WITHIN_S = 150  # what was disturbed is measured again up to then
DURABLE = ("none", "process", "process, on disk")
STATE = networks.GRU.state_bytes


def write(sessions):
    step = [(1, workload.infer("gru", networks.GRU, 1, seed, session=True)) for seed in range(16)]
    return workload.write(programs.OUT / f"sessions-{sessions}.load", workload.Class("step", 1, step, sessions))


def load(server, path, *options):
    result = programs.load(server, path, "--connections", CONNECTIONS, *options)
    if set(result["statuses"]) != {"200"} or result["lost"]:
        raise SystemExit(f"not all steps succeeded: {result['statuses']}, {result['lost']} lost")
    return result


def fill(server, files):
    """Makes the sessions; what the many of them added to the daemon's memory."""
    load(server, files[FEW], "--seconds", 1)  # connections, workers and pools have what they need
    before = server.memory()
    start = time.monotonic()
    load(server, files[MANY], "--seconds", 0.1, "--warm", 0)
    seconds = time.monotonic() - start
    growth = server.memory() - before
    return {"rss_before": before, "rss_growth": growth, "seconds": seconds,
            "beside_state": growth / (MANY - FEW) - STATE, "anonymous": server.memory("RssAnon"),
            "file": server.memory("RssFile") + server.memory("RssShmem")}


def compare(durable, files, watch):
    with tempfile.TemporaryDirectory(prefix="recurd-bench-", dir="/dev/shm") as memory:
        return compare_in(durable, files, watch, pathlib.Path(memory))


def compare_in(durable, files, watch, memory_folder):
    models = programs.folder("sessions-models")
    networks.put(models, "gru", networks.GRU, sessions={"max_bytes": "2G", "durable": durable.split(",")[0]})
    shutil.rmtree(programs.OUT / "state", ignore_errors=True)
    servers, seen = {}, {FEW: [], MANY: []}

    def measure(order, turn):
        return {n: load(servers[n], files[n], "--started", "--seconds", SECONDS, "--warm", WARM, "--seed", turn + 2)
                for n in order}

    try:
        for n in (FEW, MANY):
            options = ["--sessions-max-bytes", "4G"]
            if durable != "none":
                options += ["--state-dir", programs.folder(f"state/{n}")]
            if durable == "process":
                options += ["--state-runtime-dir", memory_folder / str(n)]
            servers[n] = programs.Recurd(f"sessions-{n}", models, *options)
        programs.say(f"durable = {durable}: making {MANY} sessions")
        load(servers[FEW], files[FEW], "--seconds", 1)
        memory = fill(servers[MANY], files)
        for turn in range(ROUNDS):
            programs.say(f"durable = {durable}, round {turn + 1} of {ROUNDS}")
            for n, result in watch(measure, (FEW, MANY) if turn % 2 == 0 else (MANY, FEW), turn).items():
                seen[n].append(result)
    finally:
        for server in servers.values():
            server.process.kill()  # an orderly end would write all of it to disk
            server.stop()
        shutil.rmtree(programs.OUT / "state", ignore_errors=True)
    rates = {n: [x["answered_per_s"] for x in seen[n]] for n in seen}
    return {"ratio": programs.median([m / f for m, f in zip(rates[MANY], rates[FEW])]),
            "few_per_s": programs.median(rates[FEW]), "many_per_s": programs.median(rates[MANY]),
            "few_p99_us": programs.median([x["classes"]["step"]["p99_us"] for x in seen[FEW]]),
            "many_p99_us": programs.median([x["classes"]["step"]["p99_us"] for x in seen[MANY]]), "memory": memory}


def main():
    programs.OUT.mkdir(parents=True, exist_ok=True)
    files = {n: write(n) for n in (FEW, MANY)}
    watch = programs.Watch(WITHIN_S)
    table = {durable: compare(durable, files, watch) for durable in DURABLE}
    print(f"steps of a GRU with 64 units, {CONNECTIONS} connections, a random session each; {MANY} sessions against "
          f"{FEW}, medians of {ROUNDS}")
    print(f"{'durable':16} {'ratio':>6} {'many/s':>8} {'few/s':>8} {'p99 us many':>12} {'few':>7} "
          f"{'bytes beside state':>19} {'made/s':>8}")
    for durable, x in table.items():
        print(f"{durable:16} {x['ratio']:6.2f} {x['many_per_s']:8.0f} {x['few_per_s']:8.0f} {x['many_p99_us']:12.0f} "
              f"{x['few_p99_us']:7.0f} {x['memory']['beside_state']:19.1f} {MANY / x['memory']['seconds']:8.0f}")
    print(f"resident memory of a session beyond the {STATE} bytes of its state, from /proc/PID/status; " + watch.text())
    (programs.OUT / "sessions.json").write_text(json.dumps(table, indent=2) + "\n")


main()

"""serve.py - session steps per second of a 1 x 256 LSTM with 64 connections, each with a session of its own, against
bare libmicrohttpd: a handler that reads the same bodies and answers a constant of the same size. Both in one run,
taking turns; medians of the rounds."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "rig"))
import networks  # noqa: E402
import programs  # noqa: E402
import workload  # noqa: E402

CONNECTIONS, ROUNDS, SECONDS, WARM = 64, 7, 1.2, 0.2
WITHIN_S = 100  # what was disturbed is measured again up to then
FORMS = {"binary": True, "json": False}


def step(binary):
    return workload.infer("lstm", networks.LSTM, 1, 0, binary, session=True)


def first_answer(server, binary):
    """(bytes of the body, headers that belong to it) of a first step."""
    text = step(binary).replace(workload.ID.encode(), b"7".rjust(20)).replace(workload.START.encode(), b"true ")
    head, body = text.split(b"\r\n\r\n", 1)
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    status, answer, headers = server.call("POST", "/v2/models/lstm/infer", body, headers)
    if status != 200:
        raise SystemExit(f"a step is answered with {status}: {answer[:200]}")
    return len(answer), [f"{k}:{v}" for k, v in headers.items()
                         if k.lower() in ("content-type", "inference-header-content-length", "x-request-id")]


def measure(server, path):
    before = server.cpu_s()
    result = programs.load(server, path, "--connections", CONNECTIONS, "--bound", "--seconds", SECONDS,
                           "--warm", WARM)
    if set(result["statuses"]) != {"200"} or result["lost"]:
        raise SystemExit(f"not all steps succeeded: {result['statuses']}, {result['lost']} lost")
    result["server_us"] = 1e6 * (server.cpu_s() - before) / result["answered_per_s"] / (SECONDS + WARM)
    return result


def main():
    models = programs.folder("serve-models")
    networks.put(models, "lstm", networks.LSTM)
    files = {form: workload.write(programs.OUT / f"serve-{form}.load",
                                  workload.Class("step", 1, [(1, step(binary))], CONNECTIONS))
             for form, binary in FORMS.items()}
    seen = {(form, who): [] for form in FORMS for who in ("recurd", "ceiling")}
    watch = programs.Watch(WITHIN_S)
    with programs.Recurd("serve", models) as recurd:
        for form, binary in FORMS.items():
            size, headers = first_answer(recurd, binary)
            with programs.Ceiling(size, *headers) as ceiling:
                for turn in range(ROUNDS):
                    programs.say(f"{form}, round {turn + 1} of {ROUNDS}")
                    pair = watch(lambda: [measure(s, files[form]) for s in (recurd, ceiling)])
                    for who, result in zip(("recurd", "ceiling"), pair):
                        seen[form, who].append(result)
    table = {}
    print(f"steps of a 1 x 256 LSTM (64 inputs, 32 outputs), {CONNECTIONS} sessions and connections, medians of {ROUNDS}")
    print(f"{'form':7} {'of ceiling':>10} {'steps/s':>9} {'ceiling/s':>10} {'p50 us':>8} {'p99 us':>8}"
          f" {'CPU us/step':>12} {'ceiling':>8}")
    for form in FORMS:
        r, c = ({key: programs.median([x[key] if key in x else x["classes"]["step"][key] for x in seen[form, who]])
                 for key in ("answered_per_s", "p50_us", "p99_us", "server_us")} for who in ("recurd", "ceiling"))
        ratio = programs.median([a["answered_per_s"] / b["answered_per_s"]
                                 for a, b in zip(seen[form, "recurd"], seen[form, "ceiling"])])
        table[form] = {"of_ceiling": ratio, "recurd": r, "ceiling": c}
        print(f"{form:7} {ratio:10.2f} {r['answered_per_s']:9.0f} {c['answered_per_s']:10.0f} {r['p50_us']:8.0f}"
              f" {r['p99_us']:8.0f} {r['server_us']:12.1f} {c['server_us']:8.1f}")
    print(watch.text())
    (programs.OUT / "serve.json").write_text(json.dumps(table, indent=2) + "\n")


main()

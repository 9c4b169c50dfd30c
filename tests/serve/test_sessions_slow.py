"""test_sessions_slow.py - a slow disk and large bodies keep nobody else waiting.

usage: test_sessions_slow.py RECURD RECURCTL SLOW_DISK. SLOW_DISK: slow_disk.c as a library: each sync takes SLOW_S, and so
do first reads while the file SLOW_READS is there."""

import pathlib
import random
import sys
import tempfile
import threading
import time

import daemon
from session_client import Answer, Client, infer_body
from session_journal import SEED
from session_nets import LSTM, Models, await_spilled, serve

SLOW_S = 0.25


def sometimes(attempt, tries=4):
    """What waits for the disk does so each time; what other work on the machine delays does not. So the quickest of some
    attempts counts, and one that is quick enough is the last. `attempt` gives (seconds, the limit, what took so long)."""
    told = []
    for _ in range(tries):
        seconds, limit, what = attempt()
        if seconds < limit:
            return
        told.append(f"{what} took {seconds:.2f} s")
    raise AssertionError(f"limit {limit:.2f} s: {told}")


def slowest(call, while_, least=10):
    """Seconds of the slowest of the calls that are made until the thread ends."""
    worst = n = 0
    while while_.is_alive() or n < least:
        begin = time.monotonic()
        call()
        worst, n = max(worst, time.monotonic() - begin), n + 1
    return worst, n


def background(work):
    errors = []

    def run():
        try:
            work()
        except Exception as e:  # told by the one who waits
            errors.append(e)

    t = threading.Thread(target=run)
    t.start()
    return t, errors


def test_slow_disk():
    """Calls on sessions with durable = commit wait for their sync; other models, steps included, do not."""
    sometimes(slow_disk)


def slow_disk():
    preload = {"LD_PRELOAD": sys.argv[3]}
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(
            disk=(LSTM, {"durable": "commit"}), memory=(LSTM, {"durable": "none"})) as models:
        with serve(models, "--state-dir", folder, env=preload) as d, Client(d.port, "memory") as m:
            def calls():
                with Client(d.port, "disk") as c:
                    c.create(id="a")
                    c.snapshot("a", "s")
                    c.fork("a", "b")
                    c.put_state("a", c.state("a").outputs)
                    c.rewind("a", snapshot="s")
                    c.delete("b")

            m.step("x", LSTM.inputs(LSTM.steps(rng, 1)), start=True)
            begin = time.monotonic()
            t, errors = background(calls)
            worst, n = slowest(lambda: m.step("x", LSTM.inputs(LSTM.steps(rng, 1))), t)
            t.join()
            took = time.monotonic() - begin
            assert not errors, errors
            print(f"     6 calls took {took:.1f} s; {n} steps of the other model meanwhile, the slowest {worst * 1000:.0f} ms")
            assert took > 5 * SLOW_S, "the disk is not slow"
            with Client(d.port, "disk") as c:
                assert [s["id"] for s in c.list()["sessions"]] == ["a"]
            return worst, 0.6 * SLOW_S, "a step of another model"


def test_slow_spill():
    """Sessions that leave memory changed are written by a thread of their own; no step waits for the sync."""
    sometimes(slow_spill)


def slow_spill():
    preload, rng = {"LD_PRELOAD": sys.argv[3]}, random.Random(SEED)
    sessions = {"durable": "snapshot", "overflow": "spill", "max_bytes": 300000, "snapshot_interval_s": 3600}
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(
            disk=(LSTM, sessions), memory=(LSTM, {"durable": "none"})) as models:
        with serve(models, "--state-dir", folder, env=preload) as d, Client(d.port, "memory") as m:
            steps = [LSTM.steps(rng, 1) for _ in range(2400)]
            times = []

            def flood():
                with Client(d.port, "disk") as c:
                    for k, step in enumerate(steps):
                        begin = time.monotonic()
                        c.step(k + 1, LSTM.inputs(step), start=True)
                        times.append(time.monotonic() - begin)
                        if k > 1000:
                            time.sleep(0.003)

            m.step("x", LSTM.inputs(LSTM.steps(rng, 1)), start=True)
            t, errors = background(flood)
            worst, n = slowest(lambda: m.step("x", LSTM.inputs(LSTM.steps(rng, 1))), t)
            t.join()
            assert not errors, errors
            with Client(d.port, "disk") as c:
                spilled = await_spilled(c, 301)
                print(f"     {len(spilled)} and more spilled; slowest step {max(times) * 1000:.0f} ms, of another model "
                      f"{worst * 1000:.0f} ms of {n}")
                for k in rng.sample(range(len(steps)), 40):
                    more = LSTM.steps(rng, 1)
                    answer = LSTM.split(c.step(k + 1, LSTM.inputs(more))["y"])
                    assert answer == LSTM.whole(c, steps[k] + more)[0][-1:]
            return max(worst, *times), 0.6 * SLOW_S, "a step"


def test_slow_reads():
    """Sessions that come back from the disk are read by a helper thread: sessions in memory and other models go on."""
    for durable in ("process", "snapshot"):
        sometimes(lambda durable=durable: slow_reads(durable, random.Random(SEED)))


def slow_reads(durable, rng):
    sessions = {"durable": durable, "overflow": "spill", "max_bytes": 40000, "snapshot_interval_s": 1}
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(
            disk=(LSTM, sessions), memory=(LSTM, {"durable": "none"})) as models:
        flag = pathlib.Path(folder) / "slow"
        env = {"LD_PRELOAD": sys.argv[3], "SLOW_READS": str(flag)}
        with serve(models, "--state-dir", folder, env=env) as d, Client(d.port, "memory") as m, Client(d.port, "disk") as c:
            steps = [LSTM.steps(rng, 1) for _ in range(400)]
            for k, step in enumerate(steps):
                c.step(k + 1, LSTM.inputs(step), start=True)
            spilled, near = await_spilled(c, 101), len(steps)
            assert near not in spilled
            m.step("x", LSTM.inputs(LSTM.steps(rng, 1)), start=True)
            back = rng.sample(spilled, 6)
            flag.touch()

            def read():
                with Client(d.port, "disk") as far:
                    for k in back[:4]:
                        more = LSTM.steps(rng, 1)
                        answer = LSTM.split(far.step(k, LSTM.inputs(more))["y"])
                        assert answer == LSTM.whole(far, steps[k - 1] + more)[0][-1:]
                    assert far.describe(back[4])["steps"] == 1
                    far.fork(back[5], "fork")
                    far.create(id="made")

            begin = time.monotonic()
            t, errors = background(read)
            others = ((m, "x"), (c, near))
            worst, n = slowest(lambda: [o.step(id_, LSTM.inputs(LSTM.steps(random.Random(1), 1))) for o, id_ in others], t)
            t.join()
            took = time.monotonic() - begin
            assert not errors, errors
            print(f"     {durable}: 6 sessions were back after {took:.1f} s; the slowest of {n} pairs of steps meanwhile took "
                  f"{worst * 1000:.0f} ms")
            assert took > 6 * SLOW_S, "the disk is not slow"
            return worst, 0.6 * SLOW_S, "steps in memory"


def test_calls_share_syncs():
    """Many calls at once do not take one sync each."""
    sometimes(shared_syncs)


def shared_syncs():
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(disk=(LSTM, {"durable": "commit"})) as models:
        with serve(models, "--state-dir", folder, env={"LD_PRELOAD": sys.argv[3]}) as d:
            def create(k):
                with Client(d.port, "disk") as c:
                    c.create(id=k + 1)

            begin = time.monotonic()
            threads = [background(lambda k=k: create(k)) for k in range(12)]
            for t, errors in threads:
                t.join()
                assert not errors, errors
            took = time.monotonic() - begin
            print(f"     12 sessions made at once in {took:.2f} s")
            return took, 6 * SLOW_S, "12 sessions"


def test_large_bodies():
    """Long sequences as JSON of many MiB are read apart: a small step does not wait for them, and they keep their order."""
    rng = random.Random(SEED)
    with Models(m=(LSTM, {"durable": "none"})) as models, serve(models) as d, Client(d.port, "m") as small:
        one = LSTM.steps(rng, 1)
        text = f'"inputs":[{{"name":"x","datatype":"FP32","shape":[1,%d,%d],"data":[%s]}}],"parameters":%s}}'
        n, width = 200000, LSTM.inputs(one)["x"].shape[-1]
        body = "{" + text % (n, width, ",".join(["0.123456789"] * (n * width)), '{"sequence_id":"large","sequence_start":true}')

        def large():
            with Client(d.port, "m") as c:
                c.told("POST", "/v2/models/m/infer", body)

        begin = time.monotonic()
        small.step(1, LSTM.inputs(one), start=True)
        t, errors = background(large)
        worst, k = slowest(lambda: small.step(1, LSTM.inputs(one)), t)
        took = time.monotonic() - begin
        t.join()
        assert not errors, errors
        print(f"     {len(body) >> 20} MiB took {took:.2f} s; {k} steps meanwhile, the slowest {worst * 1000:.0f} ms")
        assert small.describe("large")["steps"] == 1


def test_large_body_of_a_small_step():
    """What a helper thread has read may be so little work that the loop would do it itself, had it read the body."""
    rng = random.Random(SEED)
    with Models(m=(LSTM, {"durable": "none"})) as models, serve(models) as d, Client(d.port, "m") as c:
        steps = LSTM.steps(rng, 24)
        want = LSTM.whole(c, steps)[0]
        for i in range(24):
            body, headers = infer_body(LSTM.inputs(steps[i:i + 1]), parameters={"sequence_id": 1, "sequence_start": i == 0})
            n = int(headers["Inference-Header-Content-Length"])
            pad = 200000 * (i % 3 == 2)  # the others are small, and tell how long a step takes
            headers["Inference-Header-Content-Length"] = str(n + pad)
            a = Answer(*c.expect("POST", "/v2/models/m/infer", body[:n] + b" " * pad + body[n:], headers))
            assert LSTM.split(a["y"]) == want[i:i + 1], i


if __name__ == "__main__":
    daemon.main(dict(globals()))

"""test_sessions_policies.py - what a server does with sessions by itself: events, budgets, reloads of the model, metrics.

usage: test_sessions_policies.py RECURD."""

import random
import tempfile
import threading
import time

import daemon
from session_client import Client, Events, Refused, refused
from session_nets import GRU, LSTM, Models, Serving, await_spilled, continues, other_weights, run

RNG = random.Random(34)


# ---- timing, events -----------------------------------------------------------------------------------------

def test_timing():
    with Serving() as (_, c):
        x = LSTM.inputs(LSTM.steps(RNG, 5))
        a = c.step("s", x, start=True, timing=True)
        told = a.parameters
        assert {"sequence_id", "step", "queue_us", "compute_us", "batch_rows", "runs", "steps"} <= told.keys(), told
        assert told["steps"] == 5 and told["runs"] >= 1 and told["batch_rows"] >= 1, told
        assert 0 <= told["queue_us"] < 60e6 and 0 <= told["compute_us"] < 60e6, told
        told = c.infer(x, timing=True).parameters
        assert {"queue_us", "compute_us", "batch_rows", "runs", "steps"} <= told.keys() and "step" not in told, told
        assert c.step("s", x, timing=False).parameters.keys() == {"sequence_id", "step"}
        refused(400, c.step, "s", x, timing="yes")


def test_events():
    with Serving(LSTM, {"idle_timeout_s": 4}) as (d, c), Events(d.port, "m") as stream:
        assert stream.type.startswith("text/event-stream"), stream.type
        run(c, "s", LSTM.steps(RNG, 1), start=True)
        e = stream.wait(event="created", id="s")
        assert e["model"] == "m" and e["version"] == "1" and isinstance(e["reason"], str), e
        assert abs(e["time_ms"] / 1000 - time.time()) < 30, e
        c.create(id=7)
        stream.wait(event="created", id=7)
        run(c, "s", LSTM.steps(RNG, 1), end=True)
        e = stream.wait(event="ended", id="s")
        assert e["reason"] and not stream.seen(event="ended", id=7)
        c.create(id="d")
        run(c, "d", LSTM.steps(RNG, 1))
        c.delete("d")
        assert stream.wait(event="ended", id="d")["steps"] == 1
        assert stream.wait(event="expired", id=7)["reason"]
        with Events(d.port, "m") as second:
            c.create(id="both")
            second.wait(event="created", id="both")
            stream.wait(event="created", id="both")
            assert not second.seen(id="s"), "a stream begins when it is asked for"
        c.create(id="after")
        stream.wait(event="created", id="after")


def test_streams_do_not_hold_up_the_end():
    """An open event stream lets the server stop at once, and ends then."""
    with Models(m=(LSTM, None)) as models, daemon.Daemon(models) as d:
        with Events(d.port, "m") as stream:
            start = time.monotonic()
            assert d.stop() == 0
            assert time.monotonic() - start < 25, "the drain waited for a stream"
            stream.join(30)
            assert not stream.is_alive()


# ---- budgets ------------------------------------------------------------------------------------------------

def fill(c, n):
    """Start sessions 1.. until one is refused (or n): the steps of each, the refusal."""
    seen, e = {}, None
    for i in range(1, n + 1):
        steps = LSTM.steps(RNG, 2)
        try:
            run(c, i, steps, start=True)
        except Refused as error:
            e = error
            break
        seen[i] = steps
    return seen, e


def test_budget_reject():
    with Serving(LSTM, {"max_bytes": 4096, "overflow": "reject"}) as (_, c):
        seen, e = fill(c, 200)
        assert e is not None and e.status == 503 and e.code == "unavailable", e
        assert int(e.headers["Retry-After"]) >= 1
        assert 4 <= len(seen) <= 85, f"{len(seen)} sessions of 48 bytes of state in 4096 bytes"
        assert len(seen) * c.describe(1)["bytes"] <= 4096
        for call in (lambda: c.create(), lambda: c.fork(1), lambda: c.import_("new", c.export(1))):
            refused(503, call)
        assert c.list()["total"] == len(seen)
        for name, steps in seen.items():
            continues(c, name, steps)
        c.delete(1)
        c.fork(2, "instead")
        refused(503, c.create)


def test_budget_is_given_back():
    """Sessions with all that hangs on them come and go a thousand times in a budget for a few."""
    with Serving(LSTM, {"max_bytes": 8192, "overflow": "reject", "ring": 2}) as (_, c):
        x = LSTM.steps(RNG, 1)
        for i in range(150):
            c.create(id="long name " * 8)
            run(c, "long name " * 8, x, step=1)
            c.snapshot("long name " * 8, "a")
            c.snapshot("long name " * 8, "b")
            c.snapshot("long name " * 8, "a")
            c.fork("long name " * 8, i + 1)
            if i % 3 == 0:
                c.forget("long name " * 8, "b")
            run(c, "long name " * 8, x, end=i % 2 == 0)
            run(c, i + 1, x, start=True, end=True)
            if i % 2:
                c.delete("long name " * 8)
        assert c.list()["total"] == 0


def test_budget_lru():
    with Serving(LSTM, {"max_bytes": 4096, "overflow": "lru"}) as (d, c), Events(d.port, "m") as stream:
        seen, e = fill(c, 60)
        assert e is None, e
        live = {s["id"] for s in c.list()["sessions"]}
        n = len(live)
        assert 4 <= n < 60 and live == set(range(61 - n, 61)), "the latest ones stay"
        for i in range(1, 61 - n):
            stream.wait(event="evicted", id=i)
        gone = refused(410, c.describe, 1)
        assert "evicted" in gone.text
        e = refused(400, c.step, 1, LSTM.inputs(seen[1]))
        assert "must specify the START flag" in e.text and "evicted" in e.text, e.text
        first = min(live)
        run(c, first, LSTM.steps(RNG, 1))  # a use makes it the latest
        c.create(id="one more")
        assert c.describe(first) and refused(410, c.describe, first + 1)
        for name in sorted(live - {first, first + 1}):
            continues(c, name, seen[name])


def test_budget_spill():
    """A hundred sessions in room for a few: each goes on with its bits."""
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder:
        with Serving(LSTM, {"max_bytes": 4096, "overflow": "spill"}, "--state-dir", folder) as (d, c):
            with Events(d.port, "m") as stream:
                seen, e = fill(c, 100)
                assert e is None, e
                told = c.list(limit=1000)
                assert told["total"] == 100, told["total"]
                spilled = await_spilled(c, 50)
                stream.wait(event="spilled", id=spilled[0])
                c.fork(spilled[1], "forked")
                c.snapshot(spilled[2], "a")
                state = c.state(spilled[3]).outputs
                assert state == LSTM.whole(c, seen[spilled[3]])[1]
                c.delete(spilled[4])
                refused(410, c.describe, spilled[4])
                continues(c, "forked", seen[spilled[1]])
                for name in RNG.sample(sorted(set(seen) - {spilled[4]}), 90):
                    more = LSTM.steps(RNG, 2)
                    assert run(c, name, more) == LSTM.whole(c, seen[name] + more)[0][-2:], name
                    seen[name] = seen[name] + more
                stream.wait(event="restored", id=spilled[0]) if spilled[0] in seen else None
                c.rewind(spilled[2], snapshot="a")


def test_spilled_sessions_expire():
    """On disk the idle clock goes on."""
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder:
        with Serving(LSTM, {"max_bytes": 3000, "overflow": "spill", "idle_timeout_s": 2}, "--state-dir", folder) as (d, c):
            with Events(d.port, "m") as stream:
                fill(c, 40)
                assert daemon.until(lambda: c.list()["total"] == 0), c.list(limit=3)
                spilled = [e["id"] for e in stream.seen(event="spilled")]
                assert len(spilled) >= 10, spilled
                for name in (spilled[0], spilled[-1]):
                    stream.wait(event="expired", id=name)
                    assert "expired" in refused(410, c.describe, name).text
                    e = refused(400, c.step, name, LSTM.inputs(LSTM.steps(RNG, 1)))
                    assert "START" in e.text and "expired" in e.text, e.text


def test_budget_of_the_server():
    with Models(a=(LSTM, {"overflow": "reject"}), b=(LSTM, {"overflow": "reject"})) as models:
        with daemon.Daemon(models, "--sessions-max-bytes", "4K") as d, Client(d.port, "a") as a, Client(d.port, "b") as b:
            seen, e = fill(a, 200)
            assert e is not None and e.status == 503 and len(seen) >= 4
            refused(503, b.create)
            a.delete(1)
            b.create()


# ---- versions, reloads -----------------------------------------------------------------------------------------

def test_reload_pins():
    """Another file of the model: living sessions keep the old one until they end, new ones have the new one."""
    with Models(m=(LSTM, {"reload": "pin"})) as models, daemon.Daemon(models) as d, Client(d.port, "m") as c:
        steps = LSTM.steps(RNG, 9)
        old = LSTM.whole(c, steps)[0]
        run(c, "old", steps[:3], start=True)
        data = c.export("old")
        models.put("m", LSTM, {"reload": "pin"}, change=other_weights, version=2)
        c.expect("POST", "/v2/repository/models/m/load", b"{}")
        new = LSTM.whole(c, steps)[0]
        assert new != old, "the weights differ, or the test sees nothing"
        assert run(c, "old", steps[3:5]) == old[3:5]
        assert run(c, "new", steps[:3], start=True) == new[:3]
        assert (c.describe("old")["version"], c.describe("new")["version"]) == ("1", "2")
        assert {s["id"]: s["version"] for s in c.list()["sessions"]} == {"old": "1", "new": "2"}
        assert [s["id"] for s in c.list(version=1)["sessions"]] == ["old"]
        a = c.step("old", LSTM.inputs(steps[5:6]))
        assert a.version == "1" and LSTM.split(a["y"]) == old[5:6]
        assert c.fork("old", "fork")["version"] == "1"
        assert run(c, "fork", steps[6:7]) == old[6:7]
        refused(409, c.import_, "imported", data)
        assert c.export("old") and c.state("old").version == "1"
        models.put("m", LSTM, {"reload": "pin"}, version=3)
        c.expect("POST", "/v2/repository/models/m/load", b"{}")
        assert run(c, "old", steps[6:8]) == old[6:8], "two versions further"
        assert run(c, "new", steps[3:4]) == new[3:4]
        assert run(c, "third", steps[:2], start=True) == old[:2] and c.describe("third")["version"] == "3"
        assert run(c, "old", steps[8:], end=True) == old[8:]
        assert run(c, "old", steps[:1], start=True) == old[:1] and c.describe("old")["version"] == "3"


def test_reload_of_the_same_file():
    """Nothing changed: the sessions go on, again and again."""
    for policy in ("pin", "carry"):
        with Serving(LSTM, {"reload": policy, "ring": 2}) as (_, c):
            steps = LSTM.steps(RNG, 12)
            want = LSTM.whole(c, steps)[0]
            for i in range(6):
                assert run(c, "s", steps[2 * i:2 * i + 2], start=i == 0, step=i + 1) == want[2 * i:2 * i + 2], (policy, i)
                c.expect("POST", "/v2/repository/models/m/load", b"{}")
                a = c.step("s", LSTM.inputs(steps[2 * i:2 * i + 2]), start=i == 0, step=i + 1)
                assert a.parameters.get("repeated") is True, policy
            c.rewind("s", steps=2)
            continues(c, "s", steps[:8])


def test_reload_carries():
    with Models(m=(LSTM, {"reload": "carry"})) as models, daemon.Daemon(models) as d, Client(d.port, "m") as c:
        with Events(d.port, "m") as stream:
            steps = LSTM.steps(RNG, 6)
            run(c, "s", steps[:3], start=True)
            state = c.state("s").outputs
            models.put("m", LSTM, {"reload": "carry"}, change=other_weights, version=2)
            c.expect("POST", "/v2/repository/models/m/load", b"{}")
            e = stream.wait(event="migrated", id="s")
            assert e["version"] == "2", e
            told = c.describe("s")
            assert (told["version"], told["steps"]) == ("2", 1)
            assert c.state("s").outputs == state
            assert run(c, "s", steps[3:]) == LSTM.whole(c, steps[3:], state)[0]
            models.put("m", GRU, {"reload": "carry"}, version=3)  # states that do not fit: nothing is carried
            c.expect("POST", "/v2/repository/models/m/load", b"{}")
            more = LSTM.steps(RNG, 1)
            assert c.describe("s")["version"] == "2"
            a = c.step("s", LSTM.inputs(more))
            assert a.version == "2" and a.parameters["step"] == 3


def test_reload_under_load():
    """Reloads all the time, sessions all the time: no answer is refused, none is wrong."""
    with Serving(LSTM, {"reload": "pin"}) as (d, c):
        stop, failures, counts = threading.Event(), [], [0] * 4

        def work(seed):
            rng = random.Random(seed)
            try:
                with Client(d.port, "m") as own:
                    while not stop.is_set():
                        steps = LSTM.steps(rng, 6)
                        want = LSTM.whole(own, steps)[0]
                        for i in range(6):
                            assert run(own, seed, steps[i:i + 1], start=i == 0, end=i == 5) == want[i:i + 1], i
                            counts[seed - 1] += 1
            except (Refused, AssertionError, OSError) as e:
                failures.append(e)

        threads = [threading.Thread(target=work, args=(k + 1,)) for k in range(4)]
        for t in threads:
            t.start()
        for k in range(300):
            c.expect("POST", "/v2/repository/models/m/load", b"{}")
            time.sleep(0.1)
            if k >= 7 and min(counts) > 0 or failures:
                break
        stop.set()
        for t in threads:
            t.join()
        assert not failures, failures
        assert min(counts) > 0 and c.list()["total"] == 0


def test_unload():
    with Serving() as (_, c):
        run(c, "s", LSTM.steps(RNG, 1), start=True)
        c.expect("POST", "/v2/repository/models/m/unload", b"{}")
        refused((404, 503), c.step, "s", LSTM.inputs(LSTM.steps(RNG, 1)))
        c.expect("POST", "/v2/repository/models/m/load", b"{}")
        steps = LSTM.steps(RNG, 2)
        assert run(c, "t", steps, start=True) == LSTM.whole(c, steps)[0]


# ---- metrics ---------------------------------------------------------------------------------------------------

def test_metrics():
    with Serving(LSTM, {"idle_timeout_s": 3, "max_bytes": 4096, "overflow": "lru"}) as (d, c):
        def value(name, **labels):
            page = d.call("GET", "/metrics")[1].decode()
            found = 0.0
            for line in page.splitlines():
                if line.startswith((name + "{", name + " ")) and all(f'{k}="{v}"' in line for k, v in labels.items()):
                    found += float(line.rsplit(" ", 1)[1])
            return found

        run(c, "s", LSTM.steps(RNG, 5), start=True)
        c.create(id="t")
        assert value("recurd_sessions", model="m", status="idle") == 2
        assert value("recurd_sessions", model="m", status="busy") == 0
        assert value("recurd_sessions_created_total", model="m") == 2
        assert value("recurd_session_steps_total", model="m") == 1
        assert value("recurd_session_bytes", model="m") >= 96
        assert value("recurd_steps_per_run_count") >= 1
        c.delete("t")
        assert value("recurd_sessions_ended_total", model="m", reason="ended") == 1
        assert daemon.until(lambda: value("recurd_sessions_ended_total", model="m", reason="expired") == 1)
        fill(c, 60)
        assert value("recurd_sessions_ended_total", model="m", reason="evicted") >= 10


if __name__ == "__main__":
    daemon.main(dict(globals()))

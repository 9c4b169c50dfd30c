"""test_sessions_resources.py - sessions as resources: create, describe, list, delete, state, export, import.

usage: test_sessions_resources.py RECURD."""

import json
import random
import re
import time

import daemon
from session_client import Client, Tensor, refused
from session_nets import CHAR, GRU, LSTM, Models, Serving, Waiting, busy, continues, other_weights, run

RNG = random.Random(32)
FIELDS = {"id", "model", "version", "steps", "status", "created_ms", "last_access_ms", "age_s", "idle_s", "bytes", "queued",
          "durable", "snapshots", "ring"}


# ---- create, describe, list, delete --------------------------------------------------------------

def test_create():
    with Serving() as (d, c):
        steps = LSTM.steps(RNG, 3)
        want = LSTM.whole(c, steps)[0]
        made = c.create()
        assert re.fullmatch("[A-Za-z0-9_-]{22}", made["id"]), made["id"]
        assert c.create()["id"] != made["id"]
        assert run(c, made["id"], steps) == want, "needs no start flag"
        for name in (7, "7", 2**64 - 1, "a/b", "\u00fc\u00fc", "x" * 128):
            told = c.create(id=name)
            assert told["id"] == name and type(told["id"]) is type(name), told
            e = refused(409, c.create, id=name)
            assert e.code == "conflict", e.code
            assert run(c, name, steps[:1]) == want[:1]
            assert c.describe(name)["steps"] == 1
        assert c.list()["total"] == 8
        for bad in (0, "", "x" * 129, -1, 2**64, 1.5, True, [1], {}):
            refused((400, 501), c.create, id=bad)
        for body in (b"[]", b"{", b'"a"', b'{"id":1,"id":2}', b'{"inputs":1}', b'{"unknown":1}'):
            refused(400, c.expect, "POST", c.path(), body, status=201)
        assert c.list()["total"] == 8
        assert json.loads(c.expect("POST", c.path(), b"", status=201)[0])["id"], "an empty body is {}"
        refused(404, Client(d.port, "absent").create)
        refused(404, Client(d.port, "absent").list)


def test_create_with_states():
    with Serving() as (_, c):
        steps, states = LSTM.steps(RNG, 3), LSTM.random_states(RNG)
        as_json = [{"name": n, "datatype": "FP32", "shape": list(t.shape), "data": [round(0.1 * i, 1) for i in range(6)]}
                   for n, t in states.items()]
        c.create(id="s", inputs=as_json)
        given = {n: t for n, t in c.state("s").outputs.items()}
        assert set(given) == {"h0", "c0"} and any(given["h0"].raw)
        assert run(c, "s", steps) == LSTM.whole(c, steps, given)[0] != LSTM.whole(c, steps)[0]
        c.create(id="half", inputs=as_json[:1])
        assert run(c, "half", steps) == LSTM.whole(c, steps, {as_json[0]["name"]: given[as_json[0]["name"]]})[0]
        wrong = [dict(as_json[0], name="x"), dict(as_json[0], shape=[1, 2, 3]), dict(as_json[0], datatype="INT64"),
                 dict(as_json[0], data=[1, 2])]
        for one in wrong:
            refused(400, c.create, id="w", inputs=[one])
        refused(400, c.create, id="w", inputs=as_json[:1] * 2)
        refused(404, c.describe, "w")


def test_describe():
    with Serving(LSTM, {"ring": 3}) as (_, c):
        before = time.time()
        told = c.create(id="s")
        assert told.keys() >= FIELDS, FIELDS - told.keys()
        assert (told["id"], told["model"], told["version"], told["steps"], told["status"]) == ("s", "m", "1", 0, "idle")
        assert before - 2 <= told["created_ms"] / 1000 <= time.time() + 1, told
        assert told["bytes"] >= 48 and told["queued"] == 0 and told["snapshots"] == [] and told["ring"] == 0
        assert told["durable"] in ("none", "process"), told["durable"]
        run(c, "s", LSTM.steps(RNG, 5))
        run(c, "s", LSTM.steps(RNG, 2))
        c.snapshot("s", "two")
        time.sleep(1.2)
        told = c.describe("s")
        assert told["steps"] == 2 and told["snapshots"] == [{"name": "two", "steps": 2}] and told["ring"] == 2
        assert 1 <= told["idle_s"] <= told["age_s"] < 30, told
        assert told["last_access_ms"] >= told["created_ms"]
        again = c.describe("s")
        assert again["last_access_ms"] == told["last_access_ms"], "looking is no use"


def test_ids_in_paths():
    with Serving() as (_, c):
        c.create(id=7)
        c.create(id="7")
        c.create(id="007")
        run(c, 7, LSTM.steps(RNG, 1))
        base = c.path()
        for path, name, steps in (("/7", 7, 1), ("/%227%22", "7", 0), ("/007", "007", 0), ("/%22007%22", "007", 0)):
            told = c.told("GET", base + path)
            assert (told["id"], told["steps"]) == (name, steps), (path, told)
        for path in ("/8", "/%228%22", "/0", "/18446744073709551615", "/18446744073709551616", "/nobody", "/7a"):
            refused(404, c.told, "GET", base + path)
        for path in ("/7/nope", "/7/state/x", "/%22%22", "/" + "x" * 129, "/%ff", "/%00"):
            refused((400, 404), c.told, "GET", base + path)
        c.create(id="events")
        assert c.describe("events")["id"] == "events"
        for method, path in (("PUT", base), ("DELETE", base), ("POST", base + "/7"), ("DELETE", base + "/7/state"),
                             ("PUT", base + "/7/export"), ("GET", base + "/7/import"), ("GET", base + "/7/fork"),
                             ("GET", base + "/7/rewind"), ("PUT", base + "/7/snapshots"), ("POST", base + "/events")):
            refused(405, c.expect, method, path, b"{}")
        assert c.delete("7") == {"id": "7", "ended": True}
        assert c.describe(7)["steps"] == 1


def test_list():
    with Serving() as (_, c):
        assert c.list() == {"sessions": [], "total": 0}
        names = [f"user-{i}" for i in range(25)] + [f"other-{i}" for i in range(15)] + list(range(1, 6)) + ["user"]
        for name in names:
            c.create(id=name)
        key = repr
        whole = c.list()
        assert whole["total"] == len(names) and "next" not in whole, whole
        assert sorted((s["id"] for s in whole["sessions"]), key=key) == sorted(names, key=key)
        assert all(s.keys() >= FIELDS for s in whole["sessions"]), whole["sessions"][0]
        for limit in (1, 7, 45, 46, 47):
            got, query = [], {"limit": limit}
            while True:
                page = c.list(**query)
                assert len(page["sessions"]) <= limit
                got += [s["id"] for s in page["sessions"]]
                if "next" not in page:
                    break
                assert len(page["sessions"]) == limit, "a page before the last is full"
                query["after"] = page["next"]
            assert sorted(got, key=key) == sorted(names, key=key), limit
        told = c.list(prefix="user-1")
        assert sorted(s["id"] for s in told["sessions"]) == sorted(n for n in names[:25] if n.startswith("user-1"))
        got, query = [], {"prefix": "user", "limit": 4}
        while "after" not in query or query["after"]:
            page = c.list(**query)
            got += [s["id"] for s in page["sessions"]]
            query["after"] = page.get("next")
        assert sorted(got) == sorted(n for n in names if isinstance(n, str) and n.startswith("user"))
        assert c.list(prefix="nobody")["sessions"] == []
        assert len(c.list(status="idle")["sessions"]) == len(names)
        assert c.list(status="busy")["sessions"] == [] == c.list(status="spilled")["sessions"]
        assert len(c.list(version=1)["sessions"]) == len(names) and c.list(version=2)["sessions"] == []
        time.sleep(2.1)
        run(c, "user-3", LSTM.steps(RNG, 1))
        assert len(c.list(idle_over_s=2)["sessions"]) == len(names) - 1
        assert c.list(idle_over_s=1000)["sessions"] == []
        for bad in ({"limit": "x"}, {"limit": -1}, {"status": "asleep"}, {"idle_over_s": "x"}):
            refused(400, c.list, **bad)
        refused(400, c.list, after="%%%")


def test_paging_while_sessions_come_and_go():
    """What stays during the walk is seen once, whatever else comes and goes."""
    with Serving() as (_, c):
        for i in range(60):
            c.create(id=f"stay-{i}")
        seen, query, k = [], {"limit": 5}, 0
        while True:
            page = c.list(**query)
            seen += [s["id"] for s in page["sessions"]]
            c.create(id=f"come-{k}")
            if k % 2:
                c.delete(f"come-{k - 1}")
            k += 1
            if "next" not in page or k > 100:
                break
            query["after"] = page["next"]
        stayed = [n for n in seen if n.startswith("stay")]
        assert sorted(stayed) == sorted(f"stay-{i}" for i in range(60)), sorted(set(stayed))


def test_delete():
    with Serving() as (_, c):
        refused(404, c.delete, "nobody")
        run(c, "s", LSTM.steps(RNG, 1), start=True)
        assert c.delete("s") == {"id": "s", "ended": True}
        for call in (c.describe, c.delete, c.state, c.export, c.snapshots, c.fork):
            e = refused(410, call, "s")
            assert e.code == "gone" and "ended" in e.text, (e.code, e.text)
        refused(410, c.snapshot, "s", "a")
        refused(410, c.rewind, "s", steps=1)
        refused(410, c.put_state, "s", LSTM.random_states(RNG))
        for call in (c.describe, c.delete, c.state, c.export, c.snapshots, c.fork):
            refused(404, call, "nobody")
        c.create(id="s")
        assert c.describe("s")["steps"] == 0
        run(c, "s", LSTM.steps(RNG, 1), end=True)
        assert "ended" in refused(410, c.describe, "s").text


def test_delete_with_queued_requests():
    with Serving(CHAR, None, "--engine-workers", "1") as (d, c):
        c.create(id="s")
        threads = [busy(d, c, "s")]
        queued = c.describe("s")["queued"]
        threads += [Waiting(d, CHAR, "s", CHAR.steps(RNG, 1)) for _ in range(5)]
        assert daemon.until(lambda: c.describe("s")["queued"] == queued + 5), c.describe("s")
        assert [s["id"] for s in c.list(status="busy")["sessions"]] == ["s"]
        c.delete("s")
        for t in threads:
            t.join()
        assert [t.error and t.error.status for t in threads[1:]] == [410] * 5, [t.error for t in threads]
        assert threads[0].error is None or threads[0].error.status == 410, threads[0].error
        refused(410, c.describe, "s")
        c.create(id="s")
        continues(c, "s", [], CHAR)


def test_busy_sessions_refuse_changes():
    """What would change the state under a request is refused; reading gives the state before it."""
    with Serving(CHAR, {"ring": 2}, "--engine-workers", "1") as (d, c):
        first = CHAR.steps(RNG, 2)
        c.create(id="s")
        run(c, "s", first, CHAR)
        c.snapshot("s", "a")
        data, state = c.export("s"), c.state("s").outputs
        thread = busy(d, c, "s")
        assert c.state("s").outputs == state and c.export("s") == data
        for call in (lambda: c.put_state("s", state), lambda: c.import_("s", data), lambda: c.rewind("s", snapshot="a"),
                     lambda: c.rewind("s", steps=1)):
            assert refused(409, call).code == "conflict"
        c.fork("s", "f")
        c.snapshot("s", "b")
        told = c.describe("s")
        assert (told["status"], told["steps"]) == ("busy", 1), "the machine is too fast for this test"
        assert told["queued"] >= 1
        thread.join()
        assert thread.error is None
        continues(c, "f", first, CHAR)
        c.rewind("s", snapshot="b")
        continues(c, "s", first, CHAR)


# ---- state, export, import --------------------------------------------------------------------------

def test_state():
    with Serving() as (_, c):
        steps = LSTM.steps(RNG, 4)
        c.create(id="s")
        a = c.state("s")
        assert {n: t.shape for n, t in a.outputs.items()} == LSTM.shapes and not any(a["h0"] + a["c0"])
        run(c, "s", steps)
        a = c.state("s")
        assert a.outputs == LSTM.whole(c, steps)[1] and a.parameters["step"] == 1
        as_json = c.told("GET", c.path("s", "/state"))
        assert (as_json["model_name"], as_json["model_version"]) == ("m", "1")
        assert as_json["parameters"] == {"step": 1}
        assert [(o["name"], o["datatype"], o["shape"]) for o in as_json["outputs"]] == [
            (n, "FP32", list(s)) for n, s in LSTM.shapes.items()]
        other = LSTM.random_states(RNG)
        told = c.put_state("s", other)
        assert told["steps"] == 1 and told.keys() >= FIELDS, told
        assert c.state("s").outputs == other
        continues(c, "s", [], states=other)
        now = c.state("s").outputs
        c.put_state("s", {"c0": other["c0"]})
        mixed = {"h0": now["h0"], "c0": other["c0"]}
        assert c.state("s").outputs == mixed, "a state that is left out stays"
        continues(c, "s", [], states=mixed)
        told = c.told("PUT", c.path("s", "/state"), json.dumps({"inputs": [
            {"name": o["name"], "datatype": "FP32", "shape": o["shape"], "data": o["data"]} for o in as_json["outputs"]]}))
        continues(c, "s", steps)
        before = c.state("s").outputs
        for bad in ({"h0": Tensor("FP32", (1, 1, 5), bytes(20))}, {"h0": Tensor("FP32", (6,), bytes(24))},
                    {"h0": Tensor("FP32", (1, 2, 6), bytes(48))}, {"h0": Tensor("INT64", (1, 1, 6), bytes(48))},
                    {"x": Tensor("FP32", (1, 1, 4), bytes(16))}, {**other, "x": Tensor("FP32", (1, 1, 4), bytes(16))}):
            refused(400, c.put_state, "s", bad)
        refused(400, c.told, "PUT", c.path("s", "/state"), b"{")
        assert c.state("s").outputs == before, "a refused state changes nothing"
        refused(404, c.put_state, "nobody", other)


def test_export_and_import():
    with Models(m=(LSTM, None), same=(LSTM, None), gru=(GRU, None)) as models:
        models.put("changed", LSTM, change=other_weights)
        with daemon.Daemon(models) as d, Client(d.port, "m") as c, Client(d.port, "gru") as gru, Client(
                d.port, "same") as same, Client(d.port, "changed") as changed:
            first = LSTM.steps(RNG, 5)
            run(c, "s", first[:3], start=True)
            run(c, "s", first[3:])
            data, state = c.export("s"), c.state("s").outputs
            told = c.import_("copy", data)
            assert (told["id"], told["steps"]) == ("copy", 2) and told.keys() >= FIELDS, told
            continues(c, "copy", first)
            run(c, "s", LSTM.steps(RNG, 3))
            assert c.import_("s", data)["steps"] == 2, "an idle session is replaced"
            continues(c, "s", first)
            assert c.import_(12, data)["id"] == 12
            assert same.import_("s", data)["steps"] == 2, "another model with the same file"
            assert refused(409, changed.import_, "s", data).code == "conflict"
            refused(404, changed.describe, "s")
            changed.import_("s", data, carry="true")
            assert changed.state("s").outputs == state
            refused(409, gru.import_, "s", data)
            refused(409, gru.import_, "s", data, carry="true")
            refused(400, c.import_, "bad", b"")
            c.create(id="fresh")
            assert c.import_("fresh2", c.export("fresh"))["steps"] == 0
            continues(c, "fresh2", [])


def test_damaged_imports():
    """Every byte damaged, every length, garbage: 400, and nothing is made of it."""
    with Serving() as (_, c):
        run(c, "s", LSTM.steps(RNG, 3), start=True)
        data, state = c.export("s"), c.state("s").outputs
        for at in range(len(data)):
            for bit in (1, 0x80):
                bad = bytearray(data)
                bad[at] ^= bit
                refused(400, c.import_, "s" if at % 2 else "new", bytes(bad))
        for size in range(len(data)):
            refused(400, c.import_, "new", data[:size])
        for bad in (data + b"\0", data + data, bytes(len(data)), RNG.randbytes(len(data)), b"{}", data[::-1],
                    RNG.randbytes(100000), data[:8] + b"\xff" * (len(data) - 8)):
            refused(400, c.import_, "new", bad)
        assert c.list()["total"] == 1 and c.state("s").outputs == state


# ---- nonsense ---------------------------------------------------------------------------------------------

def test_nonsense():
    """Any body and query at any path: an error of the client's, or an answer; the server and its session go on."""
    with Serving(LSTM, {"ring": 2}) as (d, c):
        rests = ["", "/state", "/export", "/import", "/fork", "/snapshots", "/snapshots/a", "/rewind", "/infer", "/%00", "//"]
        words = [b"", b"{}", b"[]", b"null", b"0", b'"a"', b'{"id":null}', b'{"id":{}}', b'{"name":"a"}', b'{"name":[]}',
                 b'{"steps":99999999999999999999}', b'{"steps":-1}', b'{"inputs":[{}]}', b'{"inputs":{}}', b'{"inputs":[1]}',
                 b'{"inputs":[{"name":"h0","datatype":"FP32","shape":[1,1,6],"data":[1]}]}', b'{"snapshot":"a","x":1}', b"\xff\xfe",
                 b"[" * 3000, b'{"a":' * 200, c.export(c.create(id="e")["id"])]
        queries = ["", "?limit=0", "?limit=99999999999999999999", "?after=AAAA", "?after=%00", "?prefix=%ff", "?binary=maybe", "?x=1",
                   "?carry=2", "?status=", "?version=-1", "?version=99999999999999999999", "?&&=&", "?idle_over_s=1e9"]
        for i in range(1500):
            name = RNG.choice(["", "/s", "/7", "/%22%22", "/%2F", "/events%00", "/%", "/" + "%41" * 200])
            path = c.path() + name + RNG.choice(rests) + RNG.choice(queries)
            method = RNG.choice(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"])
            headers = RNG.choice([{}, {"Inference-Header-Content-Length": RNG.choice(["0", "2", "-1", "99999", "x"])}])
            status, body, _ = c.send(method, path, RNG.choice(words), headers)
            assert status < 500 or status == 501, (method, path, status, body)
            if status >= 400 and method != "HEAD":
                assert isinstance(json.loads(body)["error"], str), (method, path, body)
            if i % 100 == 0:
                run(c, "mine", LSTM.steps(RNG, 1), start=True)
                continues(c, "mine", [], states=c.state("mine").outputs)


# ---- what others know it by -----------------------------------------------------------------------


def test_configuration_and_counters_of_triton():
    with Serving(LSTM, None, "--metrics-triton-names", "yes") as (d, c):
        config = json.loads(c.expect("GET", f"/v2/models/m/config")[0])
        states = config["sequence_batching"]["state"]
        assert {(s["input_name"], s["output_name"]) for s in states} == {("h0", "hn"), ("c0", "cn")}, states
        assert config["sequence_batching"]["max_sequence_idle_microseconds"] > 0 and "dynamic_batching" not in config
        c.create(id=5)
        run(c, 5, LSTM.steps(RNG, 3))
        text = d.call("GET", "/metrics")[1].decode()
        figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("nv_"))
        labels = f'model="m",version="1"'
        assert figures["nv_inference_request_success{" + labels + "}"] == "1", figures
        assert figures["nv_inference_exec_count{" + labels + "}"] == "1"
        assert int(figures["nv_inference_request_duration_us{" + labels + "}"]) > 0
        assert figures["nv_inference_request_failure{" + labels + ',reason="OTHER"}'] == "0"
        assert float(figures["nv_model_load_duration_secs{" + labels + "}"]) > 0
        memory = dict(line.split()[:2] for line in open("/proc/meminfo"))
        assert float(figures["nv_cpu_memory_total_bytes"]) == 1024 * int(memory["MemTotal:"])
        assert 0 < float(figures["nv_cpu_memory_used_bytes"]) < float(figures["nv_cpu_memory_total_bytes"])
        assert 0 < float(figures["nv_cpu_utilization"]) <= 1
    with Serving() as (d, _):
        assert b"nv_" not in d.call("GET", "/metrics")[1]



if __name__ == "__main__":
    daemon.main(dict(globals()))

"""test_sessions_protocol.py - the sequence extension: sequence_id, sequence_start, sequence_end.

usage: test_sessions_protocol.py RECURD. Every answer is compared, bit for bit, with one request that has the whole
sequence."""

import json
import random
import re
import socket
import threading
import time

import daemon
from session_client import Client, Refused, Tensor, infer_body, refused
from session_nets import CHAR, GRU, LSTM, Models, steps_for

START_TEXT = "must specify the START flag"
RNG = random.Random(31)


def must_start(c, name, *words, net=LSTM):
    """A step of this id is refused with the text that users look for, and these words."""
    e = refused(400, c.step, name, net.inputs(net.steps(RNG, 1)))
    assert START_TEXT in e.text, e.text
    for word in words:
        assert word in e.text, (word, e.text)


def test_sequence():
    """Start, continue, end: pieces of every size give the bits of the whole; states carry on unseen."""
    with Models(lstm=(LSTM, None), gru=(GRU, None), char=(CHAR, None)) as models, daemon.Daemon(models) as d:
        assert "sequence" in json.loads(d.call("GET", "/v2")[1])["extensions"]
        for name, net in (("lstm", LSTM), ("gru", GRU), ("char", CHAR)):
            with Client(d.port, name) as c:
                sizes = (1, 1, 2, 20, 1, 7)
                steps = net.steps(RNG, sum(sizes))
                want, at = net.whole(c, steps)[0], 0
                for i, size in enumerate(sizes):
                    a = c.step(5, net.inputs(steps[at:at + size]), start=i == 0, end=i == len(sizes) - 1)
                    assert list(a.outputs) == [net.output], "states are not among the default outputs"
                    assert a.outputs[net.output].shape[:2] == (1, size)
                    assert net.split(a[net.output]) == want[at:at + size], (name, i)
                    assert a.parameters == {"sequence_id": 5, "step": i + 1}, a.parameters
                    at += size
                must_start(c, 5, "ended", net=net)


def test_unknown_and_ended():
    with Models(lstm=(LSTM, None)) as models, daemon.Daemon(models) as d, Client(d.port, "lstm") as c:
        x = LSTM.inputs(LSTM.steps(RNG, 1))
        must_start(c, 1)
        must_start(c, "never")
        refused(400, c.step, 1, x, end=True)
        c.step("a", x, start=True, end=True)
        must_start(c, "a", "ended")
        c.step("a", x, start=True)
        c.step("a", x, end=True)
        must_start(c, "a", "ended")
        c.step("a", x, start=True)
        c.delete("a")
        must_start(c, "a")


def test_start_and_end_in_one():
    """A sequence of one request leaves nothing behind."""
    with Models(lstm=(LSTM, None)) as models, daemon.Daemon(models) as d, Client(d.port, "lstm") as c:
        steps = LSTM.steps(RNG, 6)
        want = LSTM.whole(c, steps)[0]
        for name in (9, "nine"):
            for _ in range(3):
                a = c.step(name, LSTM.inputs(steps), start=True, end=True)
                assert LSTM.split(a["y"]) == want and a.parameters["step"] == 1
        assert c.list()["total"] == 0


def test_start_on_a_live_id():
    with Models(lstm=(LSTM, None)) as models, daemon.Daemon(models) as d, Client(d.port, "lstm") as c:
        steps = LSTM.steps(RNG, 4)
        want = LSTM.whole(c, steps)[0]
        for _ in range(3):
            c.step(3, LSTM.inputs(LSTM.steps(RNG, 5)), start=True)
            a = c.step(3, LSTM.inputs(steps[:2]), start=True)
            assert (LSTM.split(a["y"]), a.parameters["step"]) == (want[:2], 1), "a start on a live id begins anew"
            a = c.step(3, LSTM.inputs(steps[2:]))
            assert (LSTM.split(a["y"]), a.parameters["step"]) == (want[2:], 2)
        assert c.list()["total"] == 1


def test_failed_start_keeps_the_old_session():
    """A start that is refused, or whose run cannot be, has not begun anything."""
    with Models(lstm=(LSTM, None)) as models, daemon.Daemon(models) as d, Client(d.port, "lstm") as c:
        steps = LSTM.steps(RNG, 3)
        want = LSTM.whole(c, steps)[0]
        c.step(3, LSTM.inputs(steps[:1]), start=True)
        c.step(3, LSTM.inputs(steps[1:2]))
        wrong = {"x": Tensor("FP32", (1, 1, 3), bytes(12))}
        refused(400, c.step, 3, wrong, start=True)
        refused(400, c.step, 3, {}, start=True)
        refused(400, c.step, 3, {**LSTM.inputs(steps[:1]), "h0": Tensor("FP32", (1, 1, 5), bytes(20))}, start=True)
        a = c.step(3, LSTM.inputs(steps[2:]))
        assert (LSTM.split(a["y"]), a.parameters["step"]) == (want[2:], 3)
        refused(400, c.step, 4, wrong, start=True)
        must_start(c, 4)
        assert c.list()["total"] == 1


def test_kinds_of_id():
    """Integers of all 64 bits and strings of up to 128 bytes; 7 and "7" are two sequences."""
    names = [1, 7, "7", 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, str(2**64 - 1), str(2**64), "a b/\u00fc?#%", "x" * 128,
             "\u00fc" * 64, "0", "-1", "null", '"', '"7"', "a\\n", "\u0001", "events", ".", ".."]
    with Models(lstm=(LSTM, None)) as models, daemon.Daemon(models) as d, Client(d.port, "lstm") as c:
        steps = {name: LSTM.steps(RNG, 3) for name in names}
        want = {name: LSTM.whole(c, s)[0] for name, s in steps.items()}
        for i in range(3):
            for name in names:
                a = c.step(name, LSTM.inputs(steps[name][i:i + 1]), start=i == 0, end=i == 2)
                assert a.parameters["sequence_id"] == name and type(a.parameters["sequence_id"]) is type(name), (
                    name, a.parameters)
                assert LSTM.split(a["y"]) == want[name][i:i + 1], name
            assert c.list()["total"] == (len(names) if i < 2 else 0)
        x = LSTM.inputs(LSTM.steps(RNG, 1))
        for bad in ("x" * 129, "\u00fc" * 65, -1, 2**64, 10**30, 1.5, 1e3, True, None, [1], {"a": 1}):
            e = refused((400, 501), c.step, bad, x, start=True)
            assert e.text, bad
        assert c.list()["total"] == 0


def test_no_sequence():
    """0 and "" are no ids: the states are ordinary inputs and outputs; the flags do nothing then."""
    with Models(lstm=(LSTM, None)) as models, daemon.Daemon(models) as d, Client(d.port, "lstm") as c:
        steps = LSTM.steps(RNG, 4)
        want, last = LSTM.whole(c, steps)
        half, states = LSTM.whole(c, steps[:2])
        for more in ({}, {"sequence_id": 0}, {"sequence_id": ""}, {"sequence_start": False, "sequence_end": False},
                     {"sequence_id": 0, "sequence_start": False, "sequence_end": False}):
            a = c.infer(LSTM.inputs(steps[2:], states), **more)
            assert sorted(a.outputs) == ["cn", "hn", "y"], (more, list(a.outputs))
            assert LSTM.split(a["y"]) == want[2:] and half == want[:2], more
            assert (a.outputs["hn"], a.outputs["cn"]) == (last["h0"], last["c0"]), more
        batch = c.infer({"x": Tensor("FP32", (2, 2, 4), b"".join(steps))})
        assert LSTM.split(batch["y"]) == want[:2] + LSTM.whole(c, steps[2:])[0]
        refused(400, c.infer, LSTM.inputs(steps), step=1)
        assert c.list()["total"] == 0


def test_model_without_states():
    with Models() as models:
        models.add("lstm_ts12")
        with daemon.Daemon(models) as d, Client(d.port, "lstm_ts12") as c:
            x = {"x": Tensor("FP32", (1, 1, 6), bytes(24))}
            refused(400, c.step, 1, x, start=True)
            refused(400, c.step, "a", x)
            refused(400, c.create)
            c.infer(x)


def test_batch_of_two():
    with Models(lstm=(LSTM, None), gru=(GRU, None)) as models, daemon.Daemon(models) as d:
        for name, net in (("lstm", LSTM), ("gru", GRU)):
            with Client(d.port, name) as c:
                steps = net.steps(RNG, 4)
                want = net.whole(c, steps)[0]
                two = {net.input: Tensor(net.datatype, (2, 2, *net.shape), b"".join(steps))}
                refused(400, c.step, 1, two, start=True)
                must_start(c, 1, net=net)
                c.step(1, net.inputs(steps[:1]), start=True)
                refused(400, c.step, 1, two)
                refused(400, c.step, 1, {net.input: Tensor(net.datatype, (0, 2, *net.shape), b"")})
                a = c.step(1, net.inputs(steps[1:]))
                assert (net.split(a[net.output]), a.parameters["step"]) == (want[1:], 2)


def test_state_tensors_of_a_session():
    """An initial state may come with the start, none later; a state output comes when it is listed."""
    with Models(lstm=(LSTM, None)) as models, daemon.Daemon(models) as d, Client(d.port, "lstm") as c:
        states = LSTM.random_states(RNG)
        steps = LSTM.steps(RNG, 5)
        want, last = LSTM.whole(c, steps, states)
        a = c.step("s", LSTM.inputs(steps[:3], states), start=True)
        assert LSTM.split(a["y"]) == want[:3]
        for name in states:
            refused(400, c.step, "s", LSTM.inputs(steps[3:], {name: states[name]}))
        refused(400, c.step, "s", LSTM.inputs(steps[3:], states))
        a = c.step("s", LSTM.inputs(steps[3:]), ["cn", "y", "hn"])
        assert list(a.outputs) == ["cn", "y", "hn"]
        assert LSTM.split(a["y"]) == want[3:]
        assert (a.outputs["hn"], a.outputs["cn"]) == (last["h0"], last["c0"])
        a = c.step("s", LSTM.inputs(steps[:1]), ["hn"])
        assert list(a.outputs) == ["hn"]
        assert a.outputs["hn"] == LSTM.whole(c, steps + steps[:1], states)[1]["h0"]
        only_one = {"c0": states["c0"]}
        a = c.step("s", LSTM.inputs(steps, only_one), start=True)
        assert LSTM.split(a["y"]) == LSTM.whole(c, steps, only_one)[0], "the state that is left out is zero"
        a = c.step("s", LSTM.inputs(steps[:2]))
        assert LSTM.split(a["y"]) == LSTM.whole(c, steps + steps[:2], only_one)[0][5:]


def test_json_is_the_same():
    """The numbers of the JSON form are those of the binary form; the id and the step come back."""
    with Models(lstm=(LSTM, None)) as models, daemon.Daemon(models) as d, Client(d.port, "lstm") as c:
        data = [0.5, -0.25, 1, 0, 2, -1.5, 0.125, 0.75]
        whole = json.loads(d.infer("lstm", json.dumps({"inputs": [
            {"name": "x", "datatype": "FP32", "shape": [1, 2, 4], "data": data}], "outputs": [{"name": "y"}]})))
        got = []
        for i in range(2):
            a = json.loads(d.infer("lstm", json.dumps({
                "id": f"r{i}", "parameters": {"sequence_id": "j", "sequence_start": i == 0, "sequence_end": i == 1},
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1, 4], "data": data[4 * i:4 * i + 4]}]})))
            assert a["id"] == f"r{i}" and a["parameters"] == {"sequence_id": "j", "step": i + 1}, a
            assert [o["name"] for o in a["outputs"]] == ["y"]
            got += a["outputs"][0]["data"]
        assert got == whole["outputs"][0]["data"]
        must_start(c, "j", "ended")


def test_failed_requests_leave_the_state():
    """Every way to be refused in the middle of a sequence; the sequence goes on as if nothing had been."""
    with Models(lstm=(LSTM, None)) as models, daemon.Daemon(models) as d, Client(d.port, "lstm") as c:
        steps = LSTM.steps(RNG, 30)
        want = LSTM.whole(c, steps)[0]
        x = LSTM.inputs(steps[:1])
        bad_calls = [
            lambda: c.step(8, {"x": Tensor("FP32", (1, 1, 5), bytes(20))}),
            lambda: c.step(8, {"x": Tensor("FP32", (1, 4), bytes(16))}),
            lambda: c.step(8, {"x": Tensor("INT64", (1, 1, 4), bytes(32))}),
            lambda: c.step(8, {"y": x["x"]}),
            lambda: c.step(8, {}),
            lambda: c.step(8, x, ["nope"]),
            lambda: c.step(8, {**x, "h0": Tensor("FP32", (1, 1, 6), bytes(24))}),
            lambda: c.step(8, x, sequence_start="yes"),
            lambda: c.step(8, x, sequence_end=1),
            lambda: c.step(8, x, step=0),
            lambda: c.step(8, x, step=-1),
            lambda: c.step(8, x, step="2"),
            lambda: c.step(8, {"x": Tensor("FP32", (1, 1, 5), bytes(20))}, end=True),
            lambda: c.step(8, {"x": Tensor("FP32", (1, 1, 5), bytes(20))}, start=True),
            lambda: c.expect("POST", "/v2/models/lstm/infer", b'{"parameters":{"sequence_id":8},"inputs":['),
        ]
        c.step(8, LSTM.inputs(steps[:1]), start=True)
        for i, call in enumerate(bad_calls):
            refused(400, call)
            a = c.step(8, LSTM.inputs(steps[i + 1:i + 2]))
            assert (LSTM.split(a["y"]), a.parameters["step"]) == (want[i + 1:i + 2], i + 2), f"after refusal {i}"
        refused(409, c.step, 8, x, step=99)
        n = len(bad_calls) + 1
        a = c.step(8, LSTM.inputs(steps[n:]))
        assert (LSTM.split(a["y"]), a.parameters["step"]) == (want[n:], n + 1)


def running(d):
    """Requests in the workers' hands."""
    page = d.call("GET", "/metrics")[1].decode()
    return sum(float(v) for v in re.findall(r"^recurd_running_requests\S* (\S+)$", page, re.M))


def busy_worker(d, model, net, name, seconds, start=False):
    """A session that keeps the only worker busy for about so long with its second request (`start`: its first); the
    thread that waits for it."""
    with Client(d.port, model) as c:
        steps = steps_for(c, net, seconds)
        if not start:
            c.step(name, net.inputs(net.steps(RNG, 1)), start=True)

    def work():
        with Client(d.port, model) as own:
            own.step(name, net.inputs(steps), start=start)

    thread = threading.Thread(target=work)
    thread.start()
    assert daemon.until(lambda: running(d) > 0), "no request came"
    if not start:
        with Client(d.port, model) as c:
            assert c.describe(name)["status"] == "busy", c.describe(name)
    return thread


def test_timed_out_and_left():
    """A request that waited too long, and one whose client left: the state is that of the answered ones."""
    with Models(char=(CHAR, None)) as models, daemon.Daemon(
            models, "--engine-workers", "1") as d, Client(d.port, "char") as c:
        steps = CHAR.steps(RNG, 3)
        want = CHAR.whole(c, steps)[0]
        c.step("short", CHAR.inputs(steps[:1]), start=True)
        worker = busy_worker(d, "char", CHAR, "long", 1.2)
        # the same session's request waits for the long one, so its time is over first
        e = refused((503, 504), c.step, "long", CHAR.inputs(steps[:1]), timeout=20000)
        assert e.text
        body, headers = infer_body(CHAR.inputs(steps[:1]), None, {"sequence_id": "long"})
        queued = c.describe("long")["queued"]
        leaver = socket.create_connection(("127.0.0.1", d.port))
        head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        leaver.sendall(f"POST /v2/models/char/infer HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode()
                       + body)
        assert daemon.until(lambda: c.describe("long")["queued"] > queued)
        leaver.close()
        worker.join()
        assert daemon.until(lambda: c.describe("long")["status"] == "idle")
        assert c.describe("long")["steps"] == 2, "neither the late nor the left request counts"
        a = c.step("short", CHAR.inputs(steps[1:]), start=False)
        assert CHAR.split(a["logits"]) == want[1:]


def test_queue_full():
    """More requests of one busy session than the queue holds: 429 with Retry-After, and what was refused has not run."""
    with Models(char=(CHAR, None)) as models, daemon.Daemon(
            models, "--engine-workers", "1", "--batching-max-queue", "3") as d, Client(d.port, "char") as c:
        worker = busy_worker(d, "char", CHAR, "s", 1)
        steps, done, errors = CHAR.steps(RNG, 12), {}, []

        def ask(step):
            with Client(d.port, "char") as own:
                try:
                    a = own.step("s", CHAR.inputs([step]), ["logits", "hn", "cn"])
                    done[a.parameters["step"]] = step, a
                except Refused as e:
                    errors.append(e)

        threads = [threading.Thread(target=ask, args=(step,)) for step in steps]
        for t in threads:
            t.start()
        for t in threads + [worker]:
            t.join()
        assert errors and done, (len(errors), len(done))
        for e in errors:
            assert e.status == 429 and int(e.headers["Retry-After"]) >= 1, (e, e.headers["Retry-After"])
        assert sorted(done) == list(range(3, 3 + len(done))), sorted(done)
        for k in range(4, 3 + len(done)):
            before, (step, a) = done[k - 1][1].outputs, done[k]
            want, last = CHAR.whole(c, [step], {"h0": before["hn"], "c0": before["cn"]})
            assert CHAR.split(a["logits"]) == want and a.outputs["hn"] == last["h0"], k


def test_idle_time():
    """A session expires 3 s after its last request; the refusal says so. One that is used stays."""
    with Models(lstm=(LSTM, {"idle_timeout_s": 3})) as models, daemon.Daemon(models) as d, Client(d.port, "lstm") as c:
        steps = LSTM.steps(RNG, 12)
        want = LSTM.whole(c, steps)[0]
        c.step("idle", LSTM.inputs(steps[:1]), start=True)
        c.create(id="made")
        begin, i = time.monotonic(), 0
        while time.monotonic() - begin < 30 and (i < 10 or c.list()["total"] > 1):
            k = i % len(steps)
            a = c.step("used", LSTM.inputs(steps[k:k + 1]), start=k == 0)
            assert LSTM.split(a["y"]) == want[k:k + 1]
            i += 1
            time.sleep(0.25)
        assert time.monotonic() - begin > 3, "too early"
        must_start(c, "idle", "expired")
        must_start(c, "made", "expired")
        e = refused(410, c.describe, "idle")
        assert "expired" in e.text and e.code == "gone", (e.code, e.text)
        assert [s["id"] for s in c.list()["sessions"]] == ["used"]
        a = c.step("idle", LSTM.inputs(steps[:2]), start=True)
        assert (LSTM.split(a["y"]), a.parameters["step"]) == (want[:2], 1), "an expired id may start again"


def test_idle_clock_stands_while_busy():
    """Longer in the queue and at work than the idle limit: the session is still there."""
    with Models(char=(CHAR, {"idle_timeout_s": 1})) as models, daemon.Daemon(
            models, "--engine-workers", "1") as d, Client(d.port, "char") as c:
        worker = busy_worker(d, "char", CHAR, "long", 1.5)
        step = CHAR.inputs(CHAR.steps(RNG, 1))
        waited = time.monotonic()
        a = c.step("long", step)
        assert a.parameters["step"] == 3
        if time.monotonic() - waited < 1.1:
            print("     the machine is too fast: the request did not wait longer than the limit")
        worker.join()


def test_requests_of_one_session_run_one_by_one():
    """Eight connections, one session: the step numbers that come back order the requests, and in that order they
    are one sequence."""
    with Models(lstm=(LSTM, None)) as models, daemon.Daemon(models, "--batching-max-delay-us", "500") as d, Client(
            d.port, "lstm") as c:
        done, failures = {}, []
        first = LSTM.steps(RNG, 2)
        c.step(1, LSTM.inputs(first), start=True)

        def work(seed):
            rng = random.Random(seed)
            try:
                with Client(d.port, "lstm") as own:
                    for _ in range(40):
                        steps = LSTM.steps(rng, rng.randint(1, 6))
                        a = own.step(1, LSTM.inputs(steps))
                        done[a.parameters["step"]] = steps, LSTM.split(a["y"])
            except (Refused, AssertionError, OSError) as e:
                failures.append(e)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failures, failures
        assert sorted(done) == list(range(2, 322)), "every request has a number of its own"
        steps = first + [s for k in sorted(done) for s in done[k][0]]
        assert LSTM.whole(c, steps)[0][2:] == [y for k in sorted(done) for y in done[k][1]]


def test_arrival_order():
    """Pipelined by one client on many connections while the worker is busy: the order is that of arrival."""
    with Models(char=(CHAR, None)) as models, daemon.Daemon(models, "--engine-workers", "1") as d, Client(
            d.port, "char") as c:
        worker = busy_worker(d, "char", CHAR, "s", 1)
        sockets, queued = [], c.describe("s")["queued"]
        for i in range(12):
            body, headers = infer_body(CHAR.inputs(CHAR.steps(RNG, 1)), None, {"sequence_id": "s"})
            head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
            s = socket.create_connection(("127.0.0.1", d.port), timeout=60)
            s.sendall(f"POST /v2/models/char/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}"
                      f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            sockets.append(s)
            assert daemon.until(lambda n=i: c.describe("s")["queued"] > queued + n or not worker.is_alive())
        for i, s in enumerate(sockets):
            with s, s.makefile("rb") as f:
                answer = f.read()
                assert answer.startswith(b"HTTP/1.1 200") and b'"step":%d' % (i + 3) in answer, (i, answer[:400])
        worker.join()


def test_sessions_of_two_models_are_apart():
    with Models(one=(LSTM, None), two=(LSTM, None)) as models, daemon.Daemon(models) as d:
        with Client(d.port, "one") as one, Client(d.port, "two") as two:
            a, b = LSTM.steps(RNG, 4), LSTM.steps(RNG, 4)
            want_a, want_b = LSTM.whole(one, a)[0], LSTM.whole(two, b)[0]
            one.step(7, LSTM.inputs(a[:2]), start=True)
            must_start(two, 7)
            two.step(7, LSTM.inputs(b[:2]), start=True)
            assert LSTM.split(one.step(7, LSTM.inputs(a[2:]), end=True)["y"]) == want_a[2:]
            assert LSTM.split(two.step(7, LSTM.inputs(b[2:]))["y"]) == want_b[2:]


def test_continue_behind_a_start():
    """The start is still at work: what comes behind it is not of an unknown id."""
    with Models(char=(CHAR, None)) as models, daemon.Daemon(models, "--engine-workers", "1") as d, Client(
            d.port, "char") as c:
        worker = busy_worker(d, "char", CHAR, "s", 0.7, start=True)
        a = c.step("s", CHAR.inputs(CHAR.steps(RNG, 1)))
        assert a.parameters["step"] == 2
        worker.join()


if __name__ == "__main__":
    daemon.main(dict(globals()))

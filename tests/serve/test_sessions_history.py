"""test_sessions_history.py - where a session comes from: forks, snapshots, rewinds, steps exactly once.

usage: test_sessions_history.py RECURD."""

import random
import re
import threading

import daemon
from session_client import Client, Refused, refused
from session_nets import LSTM, Serving, Waiting, continues, run

RNG = random.Random(33)


# ---- fork, snapshots, rewind --------------------------------------------------------------------------

def test_fork():
    """A tree of forks: each goes its own way, none sees another's steps, and the end of one harms none."""
    with Serving() as (_, c):
        seen = {"root": LSTM.steps(RNG, 3)}
        run(c, "root", seen["root"], start=True)
        for i in range(12):
            origin = RNG.choice(sorted(seen, key=str))
            name = f"f{i}" if i % 2 else i + 1
            told = c.fork(origin, name)
            assert told["id"] == name and told["steps"] == c.describe(origin)["steps"]
            seen[name] = seen[origin]
            for one in (origin, name):
                if RNG.random() < 0.7:
                    more = LSTM.steps(RNG, 2)
                    seen[one] = seen[one] + more
                    assert run(c, one, more) == LSTM.whole(c, seen[one])[0][-2:]
        c.delete("root")
        del seen["root"]
        for name, steps in seen.items():
            continues(c, name, steps)
        made = c.fork(1)
        assert re.fullmatch("[A-Za-z0-9_-]{22}", made["id"])
        refused(409, c.fork, 1, "f1")
        refused(409, c.fork, 1, 1)
        refused((400, 501), c.fork, 1, "x" * 129)
        refused(404, c.fork, "nobody", "new")
        refused(404, c.describe, "new")


def test_fork_of_a_session_without_steps():
    with Serving() as (_, c):
        c.create(id="a")
        assert c.fork("a", "b")["steps"] == 0
        more = LSTM.steps(RNG, 3)
        assert run(c, "a", more) == LSTM.whole(c, more)[0]
        continues(c, "b", [])


def test_snapshots_and_rewind():
    with Serving() as (_, c):
        steps = LSTM.steps(RNG, 12)
        c.create(id="s")
        told = c.snapshot("s", "zero")
        assert told == {"name": "zero", "steps": 0}, told
        for i in range(6):
            run(c, "s", steps[2 * i:2 * i + 2])
            if i in (1, 3):
                assert c.snapshot("s", f"at {i}/\u00e4") == {"name": f"at {i}/\u00e4", "steps": i + 1}
        assert sorted((s["name"], s["steps"]) for s in c.snapshots("s")) == [
            ("at 1/\u00e4", 2), ("at 3/\u00e4", 4), ("zero", 0)]
        assert c.rewind("s", snapshot="at 1/\u00e4")["steps"] == 2
        continues(c, "s", steps[:4])
        assert c.rewind("s", snapshot="at 3/\u00e4")["steps"] == 4, "a later snapshot is still there"
        continues(c, "s", steps[:8])
        assert c.rewind("s", snapshot="zero")["steps"] == 0
        continues(c, "s", [])
        c.rewind("s", snapshot="at 3/\u00e4")
        run(c, "s", steps[8:10])
        assert c.snapshot("s", "zero")["steps"] == 5, "a name that is taken is replaced"
        assert len(c.snapshots("s")) == 3
        c.rewind("s", snapshot="at 1/\u00e4")
        c.rewind("s", snapshot="zero")
        continues(c, "s", steps[:10])
        c.forget("s", "zero")
        refused(404, c.rewind, "s", snapshot="zero")
        refused(404, c.forget, "s", "zero")
        assert len(c.snapshots("s")) == 2
        for bad in ("", "x" * 39, "\u00e4" * 20, 7, None, ["a"]):
            refused(400, c.snapshot, "s", bad)
        c.snapshot("s", "x" * 38)
        c.rewind("s", snapshot="x" * 38)
        for bad in ({}, {"snapshot": "at 1/\u00e4", "steps": 1}, {"steps": -1}, {"steps": "1"}, {"steps": 1.5},
                    {"snapshot": 1}, {"unknown": 1}):
            refused(400, c.rewind, "s", **bad)
        refused(404, c.rewind, "nobody", steps=1)
        refused(404, c.snapshot, "nobody", "a")
        before = c.state("s").outputs
        c.delete("s")
        c.create(id="s")
        assert c.snapshots("s") == [], "snapshots end with their session"
        assert c.state("s").outputs != before


def test_rewind_in_the_ring():
    with Serving(LSTM, {"ring": 4}) as (_, c):
        steps = LSTM.steps(RNG, 20)
        c.create(id="s")
        for i in range(10):
            run(c, "s", steps[i:i + 1])
            assert c.describe("s")["ring"] == min(4, i + 1)
        e = refused(409, c.rewind, "s", steps=5)
        assert "4" in e.text, "says how far it goes"
        assert c.describe("s")["steps"] == 10
        assert c.rewind("s", steps=1)["steps"] == 9
        assert c.rewind("s", steps=3)["steps"] == 6
        assert c.describe("s")["ring"] == 0
        refused(409, c.rewind, "s", steps=1)
        continues(c, "s", steps[:6])
        for i in range(3):
            run(c, "s", steps[i:i + 1], start=i == 0)
        assert c.describe("s")["steps"] == 3
        c.fork("s", "f")
        run(c, "s", steps[10:12])
        assert c.rewind("s", steps=1)["steps"] == 3, "a request is one step, however long"
        continues(c, "s", steps[:3])
        continues(c, "f", steps[:3])


def test_rewind_never_leaves_the_line():
    """k back is k steps less, or a refusal: also after a new start, a snapshot, a state that was put, an import."""
    def back(c, k):
        was = c.describe("s")["steps"]
        try:
            now = c.rewind("s", steps=k)["steps"]
        except Refused as e:
            assert e.status == 409, e
            return was
        assert now == was - k, (was, k, now)
        return now

    with Serving(LSTM, {"ring": 8}) as (_, c):
        steps = LSTM.steps(RNG, 12)

        def walk(n):
            c.create(id="s")
            for i in range(n):
                run(c, "s", steps[i:i + 1])

        walk(6)  # a new start: the old sequence cannot be reached
        run(c, "s", steps[:2], start=True)
        for k in (1, 3):
            at = back(c, k)
        continues(c, "s", steps[:2] if at else [])
        c.delete("s")
        walk(3)  # back to a snapshot, and from there
        c.snapshot("s", "three")
        for i in range(3, 6):
            run(c, "s", steps[i:i + 1])
        c.rewind("s", snapshot="three")
        at = back(c, 1)
        continues(c, "s", steps[:at])
        c.delete("s")
        walk(4)
        data = c.export("s")
        for i in range(4, 8):
            run(c, "s", steps[i:i + 1])
        c.import_("s", data)
        at = back(c, 1)
        continues(c, "s", steps[:at])


# ---- exactly once ------------------------------------------------------------------------------------------

def test_step_numbers():
    with Serving() as (_, c):
        steps = LSTM.steps(RNG, 8)
        want = LSTM.whole(c, steps)[0]
        for round_ in range(2):
            a = c.step("s", LSTM.inputs(steps[:2]), start=True, step=1)
            assert LSTM.split(a["y"]) == want[:2] and a.parameters == {"sequence_id": "s", "step": 1}, (round_, a.parameters)
            for _ in range(3):
                a = c.step("s", LSTM.inputs(steps[:2]), start=True, step=1)
                assert LSTM.split(a["y"]) == want[:2] and a.parameters["repeated"] is True and a.parameters["step"] == 1
            a = c.step("s", LSTM.inputs(steps[2:3]), step=2)
            assert LSTM.split(a["y"]) == want[2:3] and "repeated" not in a.parameters
            for _ in range(3):
                a = c.step("s", LSTM.inputs(steps[2:3]), step=2)
                assert LSTM.split(a["y"]) == want[2:3] and a.parameters["repeated"] is True
            for bad in (1, 4, 5, 2**63, 2**64 - 1):
                e = refused(409, c.step, "s", LSTM.inputs(steps[3:4]), step=bad)
                assert e.code == "conflict" and e.told["expected_step"] == 3, e.told
            e = refused(409, c.step, "s", LSTM.inputs(steps[3:4]), step=2)
            assert e.told["expected_step"] == 3, "other inputs under a number that is done"
            refused(409, c.step, "s", LSTM.inputs(steps[2:4]), step=2)
            a = c.step("s", LSTM.inputs(steps[3:5]))
            assert LSTM.split(a["y"]) == want[3:5] and a.parameters["step"] == 3
            e = refused(409, c.step, "s", LSTM.inputs(steps[3:5]), step=3)
            assert e.told["expected_step"] == 4, "that request had no number: there is no stored answer"
            a = c.step("s", LSTM.inputs(steps[5:]), step=4, end=round_ == 0)
            assert LSTM.split(a["y"]) == want[5:]
        a = c.step("s", LSTM.inputs(steps[5:]), step=4)
        assert LSTM.split(a["y"]) == want[5:] and a.parameters["repeated"] is True
        assert refused(409, c.step, "s", LSTM.inputs(steps), start=True, step=2).told["expected_step"] == 1
        assert c.describe("s")["steps"] == 4
        a = c.step("s", LSTM.inputs(steps[:1]), start=True, step=1)
        assert LSTM.split(a["y"]) == want[:1] and "repeated" not in a.parameters
        for bad in (0, -1, 1.5, "1", True, 2**64):
            refused(400, c.step, "s", LSTM.inputs(steps[:1]), step=bad)


def test_repeats_follow_the_state():
    """After a rewind, a fork, a new state: a repeat is the answer of the step that led here, or a conflict."""
    with Serving(LSTM, {"ring": 3}) as (_, c):
        steps = LSTM.steps(RNG, 6)
        want = LSTM.whole(c, steps)[0]
        for i in range(4):
            run(c, "s", steps[i:i + 1], start=i == 0, step=i + 1)
        c.fork("s", "f")
        c.rewind("s", steps=2)
        assert refused(409, c.step, "s", LSTM.inputs(steps[3:4]), step=4).told["expected_step"] == 3
        assert run(c, "s", steps[2:3], step=3) == want[2:3]
        a = c.step("s", LSTM.inputs(steps[2:3]), step=3)
        assert LSTM.split(a["y"]) == want[2:3] and a.parameters["repeated"] is True
        assert run(c, "f", steps[4:5], step=5) == want[4:5]
        c.put_state("s", LSTM.random_states(RNG))
        refused(409, c.step, "s", LSTM.inputs(steps[2:3]), step=3)
        c.create(id="made")
        assert run(c, "made", steps[:1], step=1) == want[:1]
        assert c.step("made", LSTM.inputs(steps[:1]), step=1).parameters["repeated"] is True
        c.create(id="other")
        refused(409, c.step, "other", LSTM.inputs(steps[:1]), step=2)


def test_repeats_of_many_at_once():
    """The same numbered request from eight connections at once runs one time."""
    with Serving() as (d, c):
        steps = LSTM.steps(RNG, 10)
        want = LSTM.whole(c, steps)[0]
        for i in range(10):
            threads = [Waiting(d, LSTM, "s", steps[i:i + 1], step=i + 1, start=i == 0) for _ in range(8)]
            for t in threads:
                t.join()
                assert t.error is None, t.error
                assert LSTM.split(t.answer["y"]) == want[i:i + 1]
            assert sum("repeated" not in t.answer.parameters for t in threads) == 1
        assert c.describe("s")["steps"] == 10


def test_last_step_again():
    """The answer of a step that ended its session is there for a client that did not get it."""
    with Serving() as (_, c):
        for name in (7, "seven", "s" * 128):
            a, b = LSTM.steps(RNG, 1), LSTM.steps(RNG, 2)
            c.step(name, LSTM.inputs(a), start=True, step=1)
            first = c.step(name, LSTM.inputs(b), end=True, step=2)
            again = c.step(name, LSTM.inputs(b), end=True, step=2)
            assert again[LSTM.output] == first[LSTM.output], name
            refused(410, c.describe, name)
            e = refused(409, c.step, name, LSTM.inputs(a), end=True, step=2)
            assert "other inputs" in e.text, e
            refused(400, c.step, name, LSTM.inputs(b), step=2)  # without the end it is another request
            refused(400, c.step, name, LSTM.inputs(b), end=True, step=3)
            c.step(name, LSTM.inputs(b), start=True, step=1)
            refused(409, c.step, name, LSTM.inputs(a), end=True, step=3)  # it lives again
            c.delete(name)
        one = [c.step(9, LSTM.inputs(a), start=True, end=True, step=1)[LSTM.output] for _ in range(2)]
        assert one[0] == one[1]
        assert c.list()["total"] == 0


def test_last_step_twice_at_once():
    """The second of two equal last steps waits for the first and gets its answer."""
    with Serving() as (d, c):
        for k in range(1, 30):
            x = LSTM.steps(RNG, 40)
            c.step(k, LSTM.inputs(x), start=True, step=1)
            answers = []

            def send():
                with Client(d.port, "m") as mine:
                    answers.append(mine.step(k, LSTM.inputs(x), end=True, step=2)[LSTM.output])

            threads = [threading.Thread(target=send) for _ in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert len(answers) == 4 and len(set(answers)) == 1, len(answers)


if __name__ == "__main__":
    daemon.main(dict(globals()))

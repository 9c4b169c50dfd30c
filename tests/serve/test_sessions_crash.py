"""test_sessions_crash.py - what survives: kill -9 and abort under load, an upgrade, the end by SIGTERM, another model file.

usage: test_sessions_crash.py RECURD. RECURD_TEST_KILLS: how often each durable mode is killed (6); RECURD_TEST_SEED: the
seed, which is printed (0: another one each time).

Clients keep a journal of what was acknowledged. After each restart a session has the acknowledged steps, or one more:
the request that was under way. That one is sent again with its number, and all answers together must be, bit for bit,
the answer to one request with the whole sequence."""

import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

import daemon
from session_client import Client, Refused, refused
from session_journal import SEED, Journal, finish, some_sessions
from session_nets import GRU, LSTM, Models, Places, await_snapshot, other_weights, serve, setting

KILLS = setting("KILLS", 6)
WORKERS, SESSIONS = 4, 6


class Worker(threading.Thread):
    """Steps its sessions until the server is gone."""

    def __init__(self, port, net, journals, rng, mark, ends_well=False):
        super().__init__()
        self.ends_well = ends_well  # then it refuses what comes while it ends
        self.c, self.net, self.journals, self.rng, self.mark = Client(port, "m"), net, journals, rng, mark
        self.error, self.stopping = None, False

    def run(self):
        try:
            while not self.stopping:
                self.work()
        except Refused as e:
            self.error = e if e.status != 503 or not self.ends_well else None
        except OSError:
            pass  # the server was killed
        except Exception as e:
            if not type(e).__module__.startswith("http"):
                self.error = e
        finally:
            self.c.connection.close()

    def work(self):
        mine = [j for j in self.journals if j.ended is None]
        if len(mine) < SESSIONS and self.rng.random() < 0.3:
            n = len(self.journals)
            name = self.rng.choice([self.mark * 1000 + n, f"w{self.mark}-{n}" + "x" * self.rng.choice([0, 60])])
            self.journals.append(Journal(name))
            mine.append(self.journals[-1])
        if not mine:
            return
        j = self.rng.choice(mine)
        what = self.rng.random()
        if what < 0.02 and j.done:
            j.ended = False
            self.c.delete(j.name)
            j.ended = True
        elif what < 0.06 and j.done:
            name = self.rng.choice("ab")
            j.snapshots.pop(name, None)  # until the new one is acknowledged either may be there
            told = self.c.snapshot(j.name, name)
            assert told["steps"] == len(j.done)
            j.snapshots[name] = told["steps"]
        else:
            j.send(self.c, self.net, self.net.steps(self.rng, self.rng.choice([1, 1, 1, 3, 10])))


def steps_of(journals):
    return sum(len(j.done) for j in sum(journals, []))


def kill_loop(net, sessions, runtime=False, by=signal.SIGKILL, change=lambda: None):
    """`change`: something that happens while it runs."""
    print(f"     seed {SEED}, {KILLS} ends by {by.name}{', in a runtime directory' if runtime else ''}", flush=True)
    rng, journals, slowest = random.Random(SEED), [[] for _ in range(WORKERS)], 0
    with Places(runtime) as places, Models(m=(net, sessions)) as models:
        for round_ in range(KILLS + 1):
            begin = time.monotonic()
            with serve(models, *places.options) as d, Client(d.port, "m") as c:
                slowest = max(slowest, time.monotonic() - begin)
                for j in sum(journals, []):
                    j.recover(c, net)
                living = {j.name for j in sum(journals, []) if j.done and j.ended is None}
                there = {s["id"] for s in c.list(limit=10000)["sessions"]}
                assert there == living, f"too many: {there - living}, too few: {living - there}"
                if round_ == KILLS:
                    finish(c, net, sum(journals, []), rng)
                    break
                workers = [Worker(d.port, net, journals[k], random.Random(rng.random()), k + 1,
                                  by == signal.SIGTERM) for k in range(WORKERS)]
                done = steps_of(journals)
                for w in workers:
                    w.start()
                assert daemon.until(lambda: steps_of(journals) >= done + 12 or any(w.error for w in workers))
                time.sleep(rng.choice([0.02, 0.1, 0.3, 0.6]) * rng.uniform(0.5, 1.5))
                change()
                status = d.stop(by)
                assert status == (0 if by == signal.SIGTERM else -by), (status, d.logged())
                for w in workers:
                    w.join()
                    assert w.error is None, w.error
    done = steps_of(journals)
    print(f"     {done} steps of {len(sum(journals, []))} sessions acknowledged, slowest start {slowest:.2f} s")
    assert done > 10 * KILLS


def test_kill_process():
    kill_loop(LSTM, {"durable": "process", "ring": 2})


def test_kill_process_in_memory():
    kill_loop(LSTM, {"durable": "process", "ring": 2}, runtime=True)


def test_kill_commit():
    kill_loop(GRU, {"durable": "commit"})


def test_abort():
    """As the watchdog ends one that hangs."""
    kill_loop(LSTM, {"durable": "process"}, by=signal.SIGABRT)
    kill_loop(GRU, {"durable": "process"}, runtime=True, by=signal.SIGABRT)
    kill_loop(LSTM, {"durable": "commit"}, by=signal.SIGABRT)


def test_upgrade():
    """The program's file is replaced while it runs, then it is started again, in good order."""
    program = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="recurd-program-") as folder:
        sys.argv[1] = str(pathlib.Path(folder, "recurd"))

        def replace():
            """Another file of other bytes, which does the same."""
            new = pathlib.Path(folder, "new")
            shutil.copy(program, new)
            with open(new, "ab") as f:
                f.write(os.urandom(64))
            os.replace(new, sys.argv[1])

        try:
            replace()
            for durable, runtime in (("process", False), ("process", True), ("snapshot", False), ("commit", False)):
                kill_loop(LSTM, {"durable": durable}, runtime, signal.SIGTERM, replace)
        finally:
            sys.argv[1] = program


def test_runtime_directory():
    """As systemd has them: it stays for a restart, and goes when the unit stops. What is served is never an old copy."""
    rng = random.Random(SEED)
    with Places(True) as places, Models(m=(LSTM, {"durable": "process"})) as models:
        env = {"STATE_DIRECTORY": f"{places.state}:/nowhere", "RUNTIME_DIRECTORY": str(places.runtime)}
        journals = None
        for end in ("stop", "restart", "kill", "restart", "stop", "kill", "stop", "restart", "stop"):
            with serve(models, env=env) as d, Client(d.port, "m") as c:
                if journals is None:
                    journals = some_sessions(c, LSTM, rng)
                assert places.files(places.runtime) and not places.files(places.state), end
                for j in journals:
                    j.recover(c, LSTM)
                    j.send(c, LSTM, LSTM.steps(rng, 1))
                d.stop(signal.SIGKILL if end == "kill" else signal.SIGTERM)
            assert places.files(places.runtime), end
            assert bool(places.files(places.state)) == (end != "kill"), end
            if end == "stop":
                shutil.rmtree(places.runtime)
                places.runtime.mkdir()
        with serve(models, env=env) as d, Client(d.port, "m") as c:
            finish(c, LSTM, journals, rng)
            for j in journals:
                c.delete(j.name)
        assert not places.files(places.state) and not places.files(places.runtime), "nothing is kept of nothing"


def test_commits_are_grouped():
    """Each answer of `commit` waits for the disk; steps that come together wait together."""
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(m=(LSTM, {"durable": "commit"})) as models:
        with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
            def commits():
                page = d.call("GET", "/metrics")[1].decode()
                return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines()
                           if line.startswith("recurd_store_commit_seconds_count"))

            before = commits()
            for k in range(20):
                c.step(1, LSTM.inputs(LSTM.steps(random, 1)), start=k == 0)
            alone = commits() - before
            assert alone >= 20, f"{alone} commits for 20 steps one after the other"
            journals, before = [[] for _ in range(16)], commits()
            workers = [Worker(d.port, LSTM, j, random.Random(k), k + 1) for k, j in enumerate(journals)]
            for w in workers:
                w.start()
            time.sleep(1)
            for w in workers:
                w.stopping = True
            for w in workers:
                w.join()
                assert w.error is None, w.error
            steps, together = sum(len(j.done) for j in sum(journals, [])), commits() - before
            print(f"     {steps} steps of 16 clients in {together:.0f} commits")
            assert together > 0 and steps > together, "no commit was of several steps"


def test_kill_spilled():
    """Most sessions are on disk when the server is killed."""
    for durable, runtime in (("process", False), ("process", True), ("commit", False)):
        kill_loop(LSTM, {"durable": durable, "max_bytes": 3000, "overflow": "spill"}, runtime)


def test_default_is_process():
    """Without a word about it in model.json, a session survives kill -9; without a state directory none does."""
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(m=(LSTM, None)) as models:
        with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
            journals = some_sessions(c, LSTM, rng)
            assert c.describe(2)["durable"] == "process"
            d.stop(signal.SIGKILL)
        with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
            for j in journals:
                j.recover(c, LSTM)
                j.send(c, LSTM, LSTM.steps(rng, 1))
                j.verify(c, LSTM)
        with daemon.Daemon(models) as d, Client(d.port, "m") as c:
            assert c.list()["total"] == 0


def test_none():
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(m=(LSTM, {"durable": "none"})) as models:
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
                assert c.list()["total"] == 0
                some_sessions(c, LSTM, rng)
                d.stop(number)


def test_end_by_sigterm():
    """Every durable mode: the end by SIGTERM and the next start lose nothing, ids and snapshots of every kind too."""
    rng = random.Random(SEED)
    for durable in ("process", "snapshot", "commit"):
        with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder:
            with Models(m=(LSTM, {"durable": durable, "ring": 2})) as models:
                with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
                    journals = some_sessions(c, LSTM, rng)
                    for j in journals[:4]:
                        j.snapshots["before"] = c.snapshot(j.name, "before")["steps"]
                    journals[5].ended = bool(c.delete(journals[5].name))
                    created = {s["id"]: s["created_ms"] for s in c.list()["sessions"]}
                    assert c.create(id="no steps")["durable"] == durable
                for _ in range(2):
                    with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
                        assert c.describe("no steps")["steps"] == 0
                        for j in journals:
                            j.recover(c, LSTM)
                            if j.ended is None:
                                told = c.describe(j.name)
                                assert abs(told["created_ms"] - created[j.name]) <= 1000, durable
                                j.send(c, LSTM, LSTM.steps(rng, 2))
                                j.verify(c, LSTM)
                with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
                    finish(c, LSTM, journals, rng)


def test_snapshot_mode():
    """After kill -9 there is the last complete snapshot: some earlier moment of every session, and not an old one."""
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder:
        with Models(m=(LSTM, {"durable": "snapshot", "snapshot_interval_s": 1})) as models:
            with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
                journals = some_sessions(c, LSTM, rng)
                await_snapshot(folder, c, LSTM)
                old = len(journals[0].done)
                for _ in range(3):
                    for j in journals:
                        j.send(c, LSTM, LSTM.steps(rng, 1))
                d.stop(signal.SIGKILL)
            with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
                for j in journals:
                    steps = c.describe(j.name)["steps"]
                    assert old <= steps <= len(j.done), (old, steps, len(j.done))
                    j.done, j.answers = j.done[:steps], j.answers[:len(j.inputs(steps))]
                    j.send(c, LSTM, LSTM.steps(rng, 2))
                    j.verify(c, LSTM)


def test_other_durable():
    """model.json says another `durable` at the next start: every session goes on; with none they are kept aside."""
    rng, journals = random.Random(SEED), None
    modes = [("process", {}), ("commit", {}), ("process", {}), ("snapshot", {}), ("commit", {}), ("snapshot", {}),
             ("process", {"max_bytes": 3000, "overflow": "spill"}), ("process", {}),
             ("process", {"max_bytes": 3000, "overflow": "spill"}), ("commit", {}), ("process", {})]
    for runtime in (False, True):
        journals = None
        with Places(runtime) as places, Models(m=(LSTM, None)) as models:
            for durable, more in modes:
                models.put("m", LSTM, {"durable": durable, "ring": 2, **more})
                with serve(models, *places.options) as d, Client(d.port, "m") as c:
                    journals = journals or some_sessions(c, LSTM, rng)
                    assert c.list()["total"] == len(journals), (durable, c.list()["total"], d.logged())
                    for j in journals:
                        j.recover(c, LSTM)
                        j.send(c, LSTM, LSTM.steps(rng, 1))
                    j = rng.choice(journals)
                    j.snapshots["a"] = c.snapshot(j.name, "a")["steps"]
                    assert c.describe(j.name)["durable"] == durable
                    d.stop(signal.SIGTERM if durable == "snapshot" or rng.random() < 0.5 else signal.SIGKILL)
            for durable, more in (("none", {}), ("none", {"max_bytes": 3000, "overflow": "spill"}), ("process", {})):
                models.put("m", LSTM, {"durable": durable, **more})
                with serve(models, *places.options) as d, Client(d.port, "m") as c:
                    assert c.list()["total"] == 0 and ("kept aside" in d.logged()) == (durable == "none" and not more)
                    for j in some_sessions(c, LSTM, rng):
                        j.verify(c, LSTM)
                    d.stop(signal.SIGKILL)


def test_idle_time_goes_on():
    """Sessions that were idle too long while the server was down expire; the clock does not start anew for ever."""
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(m=(LSTM, {"idle_timeout_s": 2})) as models:
        with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
            some_sessions(c, LSTM, rng, 3)
            d.stop(signal.SIGKILL)
        with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
            assert daemon.until(lambda: c.list()["total"] == 0)


def test_another_model_file():
    """The file of the model changed while the server was down: the states are not given to other weights, and not
    thrown away either: with the old file they are there again."""
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(m=(LSTM, None)) as models:
        with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
            journals = some_sessions(c, LSTM, rng, 4)
        models.put("m", LSTM, None, change=other_weights)
        with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
            assert "START" in refused(400, c.step, journals[0].name, LSTM.inputs(LSTM.steps(rng, 1))).text
            assert c.list()["total"] == 0
            j = Journal("new")
            j.send(c, LSTM, LSTM.steps(rng, 1))
            j.verify(c, LSTM)
        models.put("m", LSTM, None)
        with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
            for j in journals:
                j.recover(c, LSTM)
                j.send(c, LSTM, LSTM.steps(rng, 1))
                j.verify(c, LSTM)


def test_another_model_file_carries():
    rng, carry = random.Random(SEED), {"reload": "carry"}
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(m=(LSTM, carry)) as models:
        with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
            some_sessions(c, LSTM, rng, 4)
            state = c.state(2).outputs
            d.stop(signal.SIGKILL)
        models.put("m", LSTM, carry, change=other_weights, version=2)
        with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
            told, more = c.describe(2), LSTM.steps(rng, 2)
            assert (told["version"], told["steps"]) == ("2", 4) and c.state(2).outputs == state
            assert LSTM.split(c.step(2, LSTM.inputs(more))["y"]) == LSTM.whole(c, more, state)[0]


def test_pinned_sessions_survive():
    """Killed while sessions of two versions live: each goes on with its own."""
    pinned(False)
    pinned(True)


def pinned(runtime):
    rng, name = random.Random(SEED), "of the old version"
    with Places(runtime) as places, Models(m=(LSTM, {"reload": "pin"})) as models:
        with serve(models, *places.options) as d, Client(d.port, "m") as c:
            steps = LSTM.steps(rng, 6)
            old = LSTM.whole(c, steps)[0]
            c.step(name, LSTM.inputs(steps[:2]), start=True)
            models.put("m", LSTM, {"reload": "pin"}, change=other_weights, version=2)
            c.expect("POST", "/v2/repository/models/m/load", b"{}")
            new = LSTM.whole(c, steps)[0]
            assert LSTM.split(c.step(name, LSTM.inputs(steps[2:4]))["y"]) == old[2:4] != new[2:4]
            c.step("new", LSTM.inputs(steps[:2]), start=True)
            d.stop(signal.SIGKILL)
        with serve(models, *places.options) as d, Client(d.port, "m") as c:
            assert LSTM.split(c.step("new", LSTM.inputs(steps[2:]))["y"]) == new[2:]
            assert LSTM.split(c.step(name, LSTM.inputs(steps[4:]))["y"]) == old[4:], c.describe(name)
            assert c.describe(name)["version"] == "1", c.describe(name)
            assert {s["id"]: s["version"] for s in c.list()["sessions"]} == {name: "1", "new": "2"}


if __name__ == "__main__":
    daemon.main(dict(globals()))

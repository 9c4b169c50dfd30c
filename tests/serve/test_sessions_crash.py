"""test_sessions_crash.py - what survives: kill -9 under load, the end by SIGTERM, damaged files, a full disk.

usage: test_sessions_crash.py RECURD. RECURD_TEST_KILLS: how often each durable mode is killed (6); RECURD_TEST_SEED: the
seed, which is printed.

Clients keep a journal of what was acknowledged. After each restart a session has the acknowledged steps, or one more:
the request that was under way. That one is sent again with its number, and all answers together must be, bit for bit,
the answer to one request with the whole sequence."""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import daemon
from session_client import Client, Refused, refused
from session_nets import CHAR, GRU, LSTM, Models

KILLS = int(os.environ.get("RECURD_TEST_KILLS", "6"))
SEED = int(os.environ.get("RECURD_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
WORKERS, SESSIONS = 4, 6


class Journal:
    """Of one session: the requests that were answered, and the one that is under way."""

    def __init__(self, name):
        self.name, self.done, self.answers, self.pending = name, [], [], None
        self.snapshots, self.ended = {}, None

    def inputs(self, n=None):
        return [s for request in self.done[:n] for s in request]

    def send(self, c, net, steps):
        """One more request; it is pending until its answer is here."""
        n = len(self.done) + 1
        self.pending = steps
        answer = c.step(self.name, net.inputs(steps), start=n == 1, step=n)
        assert answer.parameters["step"] == n, (answer.parameters, n)
        self.acknowledge(net, steps, answer)
        return answer

    def acknowledge(self, net, steps, answer):
        self.done.append(steps)
        self.answers += net.split(answer[net.output])
        self.pending = None

    def recover(self, c, net):
        """What the server has of it after a restart; the pending request is sent again."""
        if self.ended:
            refused((404, 410), c.describe, self.name)
            return
        try:
            steps = c.describe(self.name)["steps"]
        except Refused as e:
            if e.status in (404, 410) and self.ended is False:  # its end was under way
                self.ended = True
                return
            assert e.status == 404 and not self.done, f"session {self.name} with {len(self.done)} steps is lost: {e}"
            steps = 0
        self.ended = None
        allowed = (len(self.done), len(self.done) + 1) if self.pending else (len(self.done),)
        assert steps in allowed, f"session {self.name} has {steps} steps, {len(self.done)} were acknowledged"
        if self.pending:
            answer = self.send(c, net, self.pending)
            assert answer.parameters.get("repeated", False) == (steps == len(self.done)), answer.parameters
        told = {s["name"]: s["steps"] for s in c.snapshots(self.name)} if self.snapshots else {}
        for name, steps in self.snapshots.items():
            assert told.get(name) == steps, f"snapshot {name} of {self.name}: {told.get(name)} instead of {steps}"

    def verify(self, c, net):
        if self.done:
            assert net.whole(c, self.inputs())[0] == self.answers, f"session {self.name}: other bits"


class Worker(threading.Thread):
    """Steps its sessions until the server is gone."""

    def __init__(self, port, net, journals, rng, mark):
        super().__init__()
        self.c, self.net, self.journals, self.rng, self.mark = Client(port, "m", 10), net, journals, rng, mark
        self.error, self.stopping = None, False

    def run(self):
        try:
            while not self.stopping:
                self.work()
        except Refused as e:
            self.error = e
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


def serve(models, folder):
    return daemon.Daemon(models, "--state-dir", str(folder))


def kill_loop(net, sessions):
    print(f"     seed {SEED}, {KILLS} kills", flush=True)
    rng, journals, slowest = random.Random(SEED), [[] for _ in range(WORKERS)], 0
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(m=(net, sessions)) as models:
        for round_ in range(KILLS + 1):
            begin = time.monotonic()
            with serve(models, folder) as d, Client(d.port, "m") as c:
                slowest = max(slowest, time.monotonic() - begin)
                for j in sum(journals, []):
                    j.recover(c, net)
                living = sum(j.ended is None for j in sum(journals, []))
                assert c.list(limit=1)["total"] == living, (c.list(), living)
                if round_ == KILLS:
                    finish(c, net, sum(journals, []), rng)
                    break
                workers = [Worker(d.port, net, journals[k], random.Random(rng.random()), k + 1) for k in range(WORKERS)]
                for w in workers:
                    w.start()
                time.sleep(rng.choice([0.02, 0.1, 0.3, 0.6]) * rng.uniform(0.5, 1.5))
                d.stop(signal.SIGKILL)
                for w in workers:
                    w.join()
                    assert w.error is None, w.error
    done = sum(len(j.done) for j in sum(journals, []))
    print(f"     {done} steps of {len(sum(journals, []))} sessions acknowledged, slowest start {slowest:.2f} s")
    assert done > 10 * KILLS


def finish(c, net, journals, rng):
    """All answers of every session are those of its whole sequence, and its snapshots are where they were."""
    for j in journals:
        j.verify(c, net)
        for name, steps in j.snapshots.items() if j.ended is None else ():
            assert c.rewind(j.name, snapshot=name)["steps"] == steps
            more = net.steps(rng, 3)
            answer = c.step(j.name, net.inputs(more))
            assert net.split(answer[net.output]) == net.whole(c, j.inputs(steps) + more)[0][-3:], "other bits after a rewind"


def test_kill_process():
    kill_loop(LSTM, {"durable": "process", "ring": 2})


def test_kill_commit():
    kill_loop(GRU, {"durable": "commit"})


def test_kill_spilled():
    """Most sessions are on disk when the server is killed."""
    for durable in ("process", "commit"):
        kill_loop(LSTM, {"durable": durable, "max_bytes": 3000, "overflow": "spill"})


def some_sessions(c, net, rng, n=12, requests=4):
    journals = [Journal(k + 1 if k % 2 else f"session {k}" + "x" * (k % 3 * 40)) for k in range(n)]
    for _ in range(requests):
        for j in journals:
            j.send(c, net, net.steps(rng, 2))
    return journals


def test_default_is_process():
    """Without a word about it in model.json, a session survives kill -9; without a state directory none does."""
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(m=(LSTM, None)) as models:
        with serve(models, folder) as d, Client(d.port, "m") as c:
            journals = some_sessions(c, LSTM, rng)
            assert c.describe(2)["durable"] == "process"
            d.stop(signal.SIGKILL)
        with serve(models, folder) as d, Client(d.port, "m") as c:
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
            with serve(models, folder) as d, Client(d.port, "m") as c:
                assert c.list()["total"] == 0
                some_sessions(c, LSTM, rng)
                d.stop(number)


def test_end_by_sigterm():
    """Every durable mode: the end by SIGTERM and the next start lose nothing, ids and snapshots of every kind too."""
    rng = random.Random(SEED)
    for durable in ("process", "snapshot", "commit"):
        with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder:
            with Models(m=(LSTM, {"durable": durable, "ring": 2})) as models:
                with serve(models, folder) as d, Client(d.port, "m") as c:
                    journals = some_sessions(c, LSTM, rng)
                    for j in journals[:4]:
                        j.snapshots["before"] = c.snapshot(j.name, "before")["steps"]
                    journals[5].ended = bool(c.delete(journals[5].name))
                    created = {s["id"]: s["created_ms"] for s in c.list()["sessions"]}
                    assert c.create(id="no steps")["durable"] == durable
                for _ in range(2):
                    with serve(models, folder) as d, Client(d.port, "m") as c:
                        assert c.describe("no steps")["steps"] == 0
                        for j in journals:
                            j.recover(c, LSTM)
                            if j.ended is None:
                                told = c.describe(j.name)
                                assert abs(told["created_ms"] - created[j.name]) <= 1000, durable
                                j.send(c, LSTM, LSTM.steps(rng, 2))
                                j.verify(c, LSTM)
                with serve(models, folder) as d, Client(d.port, "m") as c:
                    finish(c, LSTM, journals, rng)


def test_snapshot_mode():
    """After kill -9 there is the last complete snapshot: some earlier moment of every session, and not an old one."""
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder:
        with Models(m=(LSTM, {"durable": "snapshot", "snapshot_interval_s": 1})) as models:
            with serve(models, folder) as d, Client(d.port, "m") as c:
                journals = some_sessions(c, LSTM, rng)
                time.sleep(3)
                old = len(journals[0].done)
                for _ in range(3):
                    for j in journals:
                        j.send(c, LSTM, LSTM.steps(rng, 1))
                d.stop(signal.SIGKILL)
            with serve(models, folder) as d, Client(d.port, "m") as c:
                for j in journals:
                    steps = c.describe(j.name)["steps"]
                    assert old <= steps <= len(j.done), (old, steps, len(j.done))
                    j.done, j.answers = j.done[:steps], j.answers[:len(j.inputs(steps))]
                    j.send(c, LSTM, LSTM.steps(rng, 2))
                    j.verify(c, LSTM)


def test_idle_time_goes_on():
    """Sessions that were idle too long while the server was down expire; the clock does not start anew for ever."""
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(m=(LSTM, {"idle_timeout_s": 2})) as models:
        with serve(models, folder) as d, Client(d.port, "m") as c:
            some_sessions(c, LSTM, rng, 3)
            d.stop(signal.SIGKILL)
        with serve(models, folder) as d, Client(d.port, "m") as c:
            assert daemon.until(lambda: c.list()["total"] == 0, 5)


def test_another_model_file():
    """The file of the model changed while the server was down: the states are not given to other weights, and not
    thrown away in silence."""
    from session_nets import other_weights
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(m=(LSTM, None)) as models:
        with serve(models, folder) as d, Client(d.port, "m") as c:
            journals = some_sessions(c, LSTM, rng, 4)
        models.put("m", LSTM, None, change=other_weights)
        with serve(models, folder) as d, Client(d.port, "m") as c:
            assert "START" in refused(400, c.step, journals[0].name, LSTM.inputs(LSTM.steps(rng, 1))).text
            assert c.list()["total"] == 0
            assert "m" in d.logged() and "session" in d.logged(), d.logged()
            new = some_sessions(c, LSTM, rng, 2)
            for j in new:
                j.verify(c, LSTM)


# ---- damage -------------------------------------------------------------------------------------------

def damages(rng, data):
    """(what it is, the file's bytes then)."""
    used = [i for i in range(len(data)) if data[i]] or [0]
    yield "empty", b""
    yield "half", data[:len(data) // 2]
    yield "one byte short", data[:-1]
    yield "garbage", rng.randbytes(len(data))
    yield "zeros", bytes(len(data))
    yield "more at the end", data + rng.randbytes(5000)
    yield "cut somewhere", data[:rng.randrange(len(data))]
    for n in (1, 1, 1, 1, 5, 30, 300):
        bad = bytearray(data)
        for _ in range(n):
            bad[rng.choice(used)] ^= 1 << rng.randrange(8)
        yield f"{n} bits of what is used", bytes(bad)
    bad, at = bytearray(data), rng.choice(used) & ~4095
    bad[at:at + 4096] = rng.randbytes(len(bad[at:at + 4096]))
    yield "a page of garbage", bytes(bad)


def serves_what_is_whole(models, folder, journals, rng, what):
    """The server starts over damaged files: a session is there and right, or is not there and the log says so."""
    with serve(models, folder) as d, Client(d.port, "m") as c:
        lost = 0
        for j in journals:
            try:
                steps = c.describe(j.name)["steps"]
                more = LSTM.steps(rng, 1)
                answer = LSTM.split(c.step(j.name, LSTM.inputs(more))["y"])
            except Refused as e:
                assert e.status in (400, 404, 410, 500), (what, e)
                lost += 1
                continue
            assert steps <= len(j.done), (what, j.name, steps)
            want = LSTM.whole(c, j.inputs(steps) + more)[0][-1:]
            assert answer == want, f"{what}: session {j.name} is there with {steps} steps and a state that is not its own"
            lost += steps < len(j.done)
        said = [line for line in d.logged().splitlines() if "session" in line.lower()]
        assert not lost or said, f"{what}: {lost} sessions are lost in silence:\n{d.logged()}"
        for s in c.list(limit=1000)["sessions"]:
            try:
                c.delete(s["id"])
            except Refused as e:
                assert e.status in (404, 410, 500), (what, e)
        for j in some_sessions(c, LSTM, rng, 3):
            j.verify(c, LSTM)
        return lost


def damage(durable):
    rng = random.Random(SEED)
    print(f"     seed {SEED}")
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as root, Models(
            m=(LSTM, {"durable": durable, "ring": 1})) as models:
        good, bad = pathlib.Path(root, "good"), pathlib.Path(root, "bad")
        good.mkdir()
        with serve(models, good) as d, Client(d.port, "m") as c:
            journals = some_sessions(c, LSTM, rng)
            c.snapshot(journals[0].name, "a")
            if durable == "process":
                d.stop(signal.SIGKILL)
        files = [p.relative_to(good) for p in good.rglob("*") if p.is_file() and p.stat().st_size and "lock" not in p.name]
        assert files, "nothing was written"
        lost = 0
        for name in files:
            for what, data in damages(rng, (good / name).read_bytes()):
                shutil.copytree(good, bad)
                (bad / name).write_bytes(data)
                now = serves_what_is_whole(models, bad, journals, rng, f"{name} {what}")
                lost += now
                if what in ("garbage", "zeros"):
                    rest = [p for p in bad.rglob("*") if p.is_file() and p.read_bytes()[:4096] == data[:4096]]
                    assert rest or what == "zeros", f"{name}: the damaged file was not set aside: {list(bad.rglob('*'))}"
                with serve(models, bad) as d:  # what was set aside does not stand in the way
                    assert d.is_ready()
                shutil.rmtree(bad)
        assert lost > 0, "no damage was ever seen"
        assert serves_what_is_whole(models, good, journals, rng, "no damage") == 0


def test_damaged_process():
    damage("process")


def test_damaged_commit():
    damage("commit")


def test_damaged_snapshot():
    damage("snapshot")


def test_state_directory_of_no_use():
    """Not there, not writable, a file: an error in words at the start, or sessions that do not survive; never a crash."""
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as root, Models(m=(LSTM, None)) as models:
        file = pathlib.Path(root, "file")
        file.write_text("x")
        for folder in (file, pathlib.Path("/proc/self/nowhere")):
            status, _, said = daemon.run("--models", str(models.path), "--listen", f"127.0.0.1:{daemon.free_port()}",
                                         "--state-dir", str(folder))
            assert status not in (0, None) and status > 0 and str(folder) in said, (folder, status, said)


# ---- a full disk -------------------------------------------------------------------------------------------

class SmallDisk:
    """A tmpfs of so many KiB; enter gives None where mounting is not permitted."""

    def __init__(self, size):
        self.path, self.size = tempfile.mkdtemp(prefix="recurd-disk-"), size

    def mount(self, options, kind=("-t", "tmpfs", "tmpfs")):
        return subprocess.run(["mount", "-o", options, *kind, self.path], stdin=subprocess.DEVNULL, timeout=20,
                              capture_output=True, check=False).returncode == 0

    def __enter__(self):
        self.mounted = os.geteuid() == 0 and shutil.which("mount") and self.mount(f"size={self.size}k")
        return pathlib.Path(self.path) if self.mounted else None

    def grow(self, size):
        assert self.mount(f"remount,size={size}k", ())

    def __exit__(self, *_):
        if self.mounted:
            subprocess.run(["umount", "-l", self.path], stdin=subprocess.DEVNULL, timeout=20, check=True)
        os.rmdir(self.path)


def full_disk(durable):
    rng, journals = random.Random(SEED), []
    disk = SmallDisk(2048)
    with disk as folder, Models(m=(CHAR, {"durable": durable})) as models:
        if folder is None:
            print("     skipped: mounting a small disk is not permitted here")
            return
        with serve(models, folder) as d, Client(d.port, "m") as c:
            refusals = 0
            while refusals < 5 and len(journals) < 3000:
                j = Journal(len(journals) + 1)
                try:
                    j.send(c, CHAR, CHAR.steps(rng, 1))
                    journals.append(j)
                except Refused as e:
                    assert e.status in (503, 507), e
                    assert e.text, e
                    refusals += 1
            assert refusals and len(journals) > 20, (refusals, len(journals))
            kept = 0
            for j in journals[:40]:
                try:
                    j.send(c, CHAR, CHAR.steps(rng, 1))
                    kept += 1
                except Refused as e:
                    assert e.status in (503, 507), e
                    j.pending = None
            print(f"     {len(journals)} sessions on {disk.size} KiB, {kept} of 40 stepped when it was full")
            assert d.is_ready()
            d.stop(signal.SIGKILL)
        with serve(models, folder) as d, Client(d.port, "m") as c:
            for j in journals:
                assert c.describe(j.name)["steps"] == len(j.done), f"{j.name}: an acknowledged step is lost"
            disk.grow(8192)
            for j in journals[:20] + journals[-20:]:
                j.send(c, CHAR, CHAR.steps(rng, 1))
                j.verify(c, CHAR)
            c.create(id="more room")


def test_full_disk_process():
    full_disk("process")


def test_full_disk_commit():
    full_disk("commit")


def test_full_disk_snapshot():
    """A snapshot that cannot be written leaves the last one, and the sessions serve on."""
    rng = random.Random(SEED)
    disk = SmallDisk(1024)
    with disk as folder, Models(m=(CHAR, {"durable": "snapshot", "snapshot_interval_s": 1})) as models:
        if folder is None:
            print("     skipped: mounting a small disk is not permitted here")
            return
        with serve(models, folder) as d, Client(d.port, "m") as c:
            first = [Journal(k + 1) for k in range(20)]
            for j in first:
                j.send(c, CHAR, CHAR.steps(rng, 1))
            time.sleep(2.5)
            for k in range(400):
                c.step(1000 + k, CHAR.inputs(CHAR.steps(rng, 1)), start=True)
            time.sleep(2.5)
            for j in first:
                assert c.describe(j.name)["steps"] == 1
            d.stop(signal.SIGKILL)
        with serve(models, folder) as d, Client(d.port, "m") as c:
            for j in first:
                j.recover(c, CHAR)
                j.send(c, CHAR, CHAR.steps(rng, 1))
                j.verify(c, CHAR)
            d.stop()


if __name__ == "__main__":
    daemon.main(dict(globals()))

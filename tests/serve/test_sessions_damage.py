"""test_sessions_damage.py - damaged files of sessions, and a full disk: the server starts, says so and serves what is whole.

usage: test_sessions_damage.py RECURD. RECURD_TEST_SEED: the seed, which is printed (0: another one each time).
RECURD_TEST_FLIPS: how many files with one flipped bit are tried in each mode (8), and as many with four."""

import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

import daemon
from session_client import Client, Refused
from session_journal import SEED, Journal, some_sessions
from session_nets import CHAR, LSTM, Models, Places, await_snapshot, serve, setting

FLIPS = setting("FLIPS", 8)

# ---- damage -------------------------------------------------------------------------------------------

def dense(data):
    """Where bytes are that mean something: most of a file of sessions is zeros and numbers of free places."""
    used = bytes(b != 0 for b in data)
    places, near = [], sum(used[:16])
    for i in range(len(data) - 16):
        if near >= 5:
            places.append(i + 8)
        near += used[i + 16] - used[i]
    return places or [0]


def exchanged(data, before):
    """What stands there before two ids, in all places where both are: it may well be whole, but is another's."""
    bad = bytearray(data)
    for a, b in zip(*([m.start() - before for m in re.finditer(name, data)] for name in (b"session 0", b"session 6"))):
        if a >= 0:
            bad[a:a + 4], bad[b:b + 4] = bad[b:b + 4], bad[a:a + 4]
    return bytes(bad)


def damages(rng, data):
    """(what it is, the file's bytes then)."""
    used = dense(data)
    yield "empty", b""
    yield "half", data[:len(data) // 2]
    yield "one byte short", data[:-1]
    yield "garbage", rng.randbytes(len(data))
    yield "zeros", bytes(len(data))
    yield "more at the end", data + rng.randbytes(5000)
    yield "cut somewhere", data[:rng.randrange(len(data))]
    for n in [1] * FLIPS + [4] * FLIPS + [30, 300]:
        bad = bytearray(data)
        places = [(rng.choice(used), rng.randrange(8)) for _ in range(n)]
        for at, bit in places:
            bad[at] ^= 1 << bit
        yield f"bits {places[:4]}", bytes(bad)
    for before in range(4, 68, 4):
        yield f"words {before} bytes before two ids exchanged", exchanged(data, before)
    bad, at = bytearray(data), rng.choice(used) & ~4095
    bad[at:at + 4096] = rng.randbytes(len(bad[at:at + 4096]))
    yield "a page of garbage", bytes(bad)
    bad = bytearray(data)
    bad[at:at + 4096] = bytes(len(bad[at:at + 4096]))
    yield f"page {at // 4096} of zeros", bytes(bad)


def serves_what_is_whole(models, folder, more, journals, rng, what):
    """The server starts over damaged files: a session is there and right, or is not there and the log says so."""
    with serve(models, "--state-dir", folder, *more) as d, Client(d.port, "m") as c:
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


def damage(durable, runtime=False):
    """With `runtime`: of the copy that an orderly end leaves, which the next server takes into memory."""
    rng = random.Random(SEED)
    print(f"     seed {SEED}")
    with Places(runtime) as places:
        damage_at(durable, rng, ["--state-runtime-dir", str(places.runtime)] if runtime else [])


def damage_at(durable, rng, more):
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as root, Models(
            m=(LSTM, {"durable": durable, "ring": 1})) as models:
        good, bad = pathlib.Path(root, "good"), pathlib.Path(root, "bad")
        good.mkdir()
        with serve(models, "--state-dir", good, *more) as d, Client(d.port, "m") as c:
            journals = some_sessions(c, LSTM, rng)
            c.snapshot(journals[0].name, "a")
            if durable == "process" and not more:
                d.stop(signal.SIGKILL)
        files = [p.relative_to(good) for p in good.rglob("*") if p.is_file() and p.stat().st_size and "lock" not in p.name]
        assert files, "nothing was written"
        lost = 0
        for name in files:
            for what, data in damages(rng, (good / name).read_bytes()):
                shutil.copytree(good, bad)
                (bad / name).write_bytes(data)
                if more:
                    shutil.rmtree(more[1])
                now = serves_what_is_whole(models, bad, more, journals, rng, f"{name} {what}")
                lost += now
                if what in ("garbage", "zeros"):
                    rest = [p for p in bad.rglob("*") if p.is_file() and p.read_bytes()[:4096] == data[:4096]]
                    assert rest or what == "zeros", f"{name}: the damaged file was not set aside: {list(bad.rglob('*'))}"
                if now and rng.random() < 0.3:  # what was set aside does not stand in the way
                    serve(models, "--state-dir", bad, *more).__exit__(None)
                shutil.rmtree(bad)
        assert lost > 0, "no damage was ever seen"
        if more:
            shutil.rmtree(more[1])
        assert serves_what_is_whole(models, good, more, journals, rng, "no damage") == 0


def test_damaged_process():
    damage("process")


def test_damaged_copy():
    damage("process", True)


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
        return subprocess.run(["mount", "-o", options, *kind, self.path], stdin=subprocess.DEVNULL, timeout=120,
                              capture_output=True, check=False).returncode == 0

    def __enter__(self):
        self.mounted = os.geteuid() == 0 and shutil.which("mount") and self.mount(f"size={self.size}k")
        return pathlib.Path(self.path) if self.mounted else None

    def grow(self, size):
        assert self.mount(f"remount,size={size}k", ())

    def __exit__(self, *_):
        if self.mounted:
            subprocess.run(["umount", "-l", self.path], stdin=subprocess.DEVNULL, timeout=120, check=True)
        os.rmdir(self.path)


def full_disk(durable, runtime=False):
    """With `runtime`: it is the folder in memory that is full."""
    rng, journals = random.Random(SEED), []
    disk = SmallDisk(2048)
    with disk as folder, Places() as places, Models(m=(CHAR, {"durable": durable})) as models:
        if folder is None:
            print("     skipped: mounting a small disk is not permitted here")
            return
        options = [*places.options, "--state-runtime-dir", folder] if runtime else ["--state-dir", folder]
        with serve(models, *options) as d, Client(d.port, "m") as c:
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
        with serve(models, *options) as d, Client(d.port, "m") as c:
            for j in journals:
                assert c.describe(j.name)["steps"] == len(j.done), f"{j.name}: an acknowledged step is lost"
            disk.grow(8192)
            for j in journals[:20] + journals[-20:]:
                j.send(c, CHAR, CHAR.steps(rng, 1))
                j.verify(c, CHAR)
            c.create(id="more room")


def test_full_disk_process():
    full_disk("process")


def test_full_runtime_directory():
    full_disk("process", True)


def test_full_disk_at_the_end():
    """No room for the copy: an error says so, and the sessions stay in memory; with room again all is as it should be."""
    rng, disk = random.Random(SEED), SmallDisk(256)
    with disk as folder, Places(True) as places, Models(m=(LSTM, None)) as models:
        if folder is None:
            print("     skipped: mounting a small disk is not permitted here")
            return
        options = ["--state-dir", folder, "--state-runtime-dir", places.runtime]
        with serve(models, *options) as d, Client(d.port, "m") as c:
            journals = some_sessions(c, LSTM, rng)
            assert d.stop() == 0 and "cannot be copied to" in d.logged(), d.logged()
        assert not places.files(folder)
        for size in (256, 4096):
            disk.grow(size)
            with serve(models, *options) as d, Client(d.port, "m") as c:
                for j in journals:
                    j.recover(c, LSTM)
                    j.send(c, LSTM, LSTM.steps(rng, 1))
        assert places.files(folder)
        shutil.rmtree(places.runtime)
        places.runtime.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(places.runtime)], stdin=subprocess.DEVNULL,
                       timeout=120, check=True)
        try:  # no room in memory either: they are served where they are
            with serve(models, *options) as d, Client(d.port, "m") as c:
                assert "they are served from" in d.logged() and places.files(folder)
                for j in journals:
                    j.recover(c, LSTM)
                    j.send(c, LSTM, LSTM.steps(rng, 1))
                d.stop(signal.SIGKILL)
        finally:
            subprocess.run(["umount", "-l", str(places.runtime)], stdin=subprocess.DEVNULL, timeout=120, check=True)
        with serve(models, *options) as d, Client(d.port, "m") as c:
            assert places.files(places.runtime) and not places.files(folder)
            for j in journals:
                j.recover(c, LSTM)
                j.verify(c, LSTM)


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
        with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
            first = [Journal(k + 1) for k in range(20)]
            for j in first:
                j.send(c, CHAR, CHAR.steps(rng, 1))
            await_snapshot(folder, c, CHAR)
            for k in range(400):
                c.step(1000 + k, CHAR.inputs(CHAR.steps(rng, 1)), start=True)
            time.sleep(2.5)
            for j in first:
                assert c.describe(j.name)["steps"] == 1
            d.stop(signal.SIGKILL)
        with serve(models, "--state-dir", folder) as d, Client(d.port, "m") as c:
            for j in first:
                j.recover(c, CHAR)
                j.send(c, CHAR, CHAR.steps(rng, 1))
                j.verify(c, CHAR)
            d.stop()


if __name__ == "__main__":
    daemon.main(dict(globals()))

"""programs.py - recurd, the ceiling and the load generator as processes: each driver ends only what it started."""

import http.client
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "release"
OUT = ROOT / "build" / "bench"
RIG = BUILD / "tests" / "bench" / "rig"


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def folder(name):
    """An empty folder under build/bench."""
    path = OUT / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


class Process:
    alive = []

    def __init__(self, name, command, **how):
        OUT.mkdir(parents=True, exist_ok=True)
        self.log = open(OUT / f"{name}.log", "wb")
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stderr=self.log, **how)
        Process.alive.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self in Process.alive:
            Process.alive.remove(self)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def call(self, method, path, body=None, headers=None):
        """(status, body, headers) of a request to the port that a subclass knows."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            c.request(method, path, body, headers or {})
            answer = c.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            c.close()

    def memory(self, key="VmRSS"):
        """Bytes, from /proc/PID/status."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(key + ":"))

    def cpu_s(self):
        """User and system time so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Recurd(Process):
    """The daemon over a repository, ready."""

    def __init__(self, name, models, *options, seconds=60):
        port = free_port()
        super().__init__(name, [BUILD / "recurd", "--models", models, "--listen", f"127.0.0.1:{port}", *options],
                         stdout=subprocess.DEVNULL)
        self.port = port
        end = time.monotonic() + seconds
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise SystemExit(f"recurd is not ready; its log: {OUT / name}.log")
            time.sleep(0.05)

    def _ready(self):
        try:
            return self.call("GET", "/v2/health/ready")[0] == 200
        except OSError:
            return False


class Ceiling(Process):
    def __init__(self, answer_bytes, *headers):
        super().__init__("ceiling", [RIG / "ceiling", answer_bytes, *headers], stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())


def load(server, workload, *options, limit=115):
    """What the load generator measured against a server, as a dictionary."""
    done = subprocess.run([str(RIG / "load"), "--port", str(server.port), *map(str, options), str(workload)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the load generator failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Watch:
    """Runs what is to be measured, and sees how many processors others kept busy meanwhile: this is a bench for shared
    machines. What was disturbed is measured again, as long as there is time; else the least disturbed counts."""

    LIMIT, TRIES = 0.12, 4

    def __init__(self, seconds):
        self.until, self.others = time.monotonic() + seconds, []

    def __call__(self, measure, *arguments):
        best = None
        for _ in range(self.TRIES):
            start = _used()
            value = measure(*arguments)
            seconds, everybody, we = (b - a for a, b in zip(start, _used()))
            others = max(0.0, everybody - we) / seconds
            if best is None or others < best[0]:
                best = others, value
            if others < self.LIMIT or time.monotonic() > self.until:
                break
        self.others.append(best[0])
        return best[1]

    def text(self):
        return (f"of {os.cpu_count()} processors, others kept {median(self.others):.2f} busy meanwhile "
                f"(median; at most {max(self.others):.2f})")


def _used():
    """(time, seconds of CPU that anybody used, that we used)"""
    user, nice, system, _, _, _, _, steal = map(int, pathlib.Path("/proc/stat").read_text().split(None, 9)[1:9])
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    we = sum(u.ru_utime + u.ru_stime for u in usages) + sum(p.cpu_s() for p in Process.alive)
    return time.monotonic(), (user + nice + system + steal) / os.sysconf("SC_CLK_TCK"), we


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def median(values):
    values = sorted(values)
    n = len(values)
    return values[n // 2] if n % 2 else (values[n // 2 - 1] + values[n // 2]) / 2

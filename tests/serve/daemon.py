"""daemon.py - starts the daemon on a free loopback port over a repository of its own; runs a file's tests.

sys.argv: the daemon, recurctl, further programs."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

from golden import NETS

START_S = 60  # under sanitizers on a machine that has other work, too


def reserved_port():
    """A socket bound to a free port that nobody else is given while it is open: it does not listen, so the daemon, which
    sets SO_REUSEADDR as well, can. Closed before that, the port could go to a test that runs beside this one."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    return s


def free_port():
    """A port that is this program's until it ends; without a listener connections are refused."""
    reserved.append(reserved_port())
    return reserved[-1].getsockname()[1]


reserved = []


class Repository:
    """A folder of models, each named as its golden network; gone at the end."""

    def __init__(self, *nets):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="recurd-serve-"))
        for net in nets:
            self.add(net)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def add(self, net, name=None, version=1, size=None):
        """With `size`: only the first bytes of the file."""
        folder = self.path / (name or net) / str(version)
        folder.mkdir(parents=True)
        data = (NETS / net / "model.onnx").read_bytes()
        (folder / "model.onnx").write_bytes(data if size is None else data[:size])

    def remove(self, name):
        shutil.rmtree(self.path / name)


def run(*arguments, seconds=START_S, env=None):
    """The daemon with arguments that make it end by itself: (status, standard output, standard error)."""
    p = subprocess.run([sys.argv[1], *map(str, arguments)], capture_output=True, text=True, timeout=seconds,
                       stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, check=False)
    return p.returncode, p.stdout, p.stderr


class Daemon:
    def __init__(self, repository, *options, env=None, wait=True):
        self.reserved = reserved_port()
        self.port = self.reserved.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.out, self.log = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        self.ended = False
        self.process = subprocess.Popen(
            [sys.argv[1], "--models", str(repository.path), "--listen", self.address, *options],
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.log, env={**os.environ, **(env or {})})
        if wait:
            assert until(self.is_ready, START_S), f"not ready; its log:\n{self.logged()}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if not self.ended:
            status = self.stop()
            if kind is None:
                assert status == 0, f"exit status {status}; its log:\n{self.logged()}"
        if kind is not None:
            print(self.logged())
        self.out.close()
        self.log.close()
        self.reserved.close()

    @staticmethod
    def _text(file):
        size = os.fstat(file.fileno()).st_size
        return os.pread(file.fileno(), size, 0).decode(errors="replace")

    def logged(self):
        return self._text(self.log)

    def printed(self):
        return self._text(self.out)

    def send(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=START_S):
        """Exit status; kills a process that does not end, and fails."""
        self.ended = True
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end in {seconds} s; its log:\n{self.logged()}") from None

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.send(number)
        return self.wait()

    def connect(self, timeout=120):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def call(self, method, path, body=None, headers=None):
        """(status, body bytes, headers) on a connection of its own."""
        c = self.connect()
        try:
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return r.status, r.read(), r.headers
        finally:
            c.close()

    def is_ready(self):
        assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.logged()}"
        try:
            return self.call("GET", "/v2/health/ready")[0] == 200
        except OSError:
            return False

    def infer(self, model, body):
        status, answer, _ = self.call("POST", f"/v2/models/{model}/infer", body)
        assert status == 200, (status, answer)
        return answer

    def index(self):
        """{model: its row of the repository index}."""
        return {row["name"]: row for row in json.loads(self.call("POST", "/v2/repository/index")[1])}


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def main(names):
    tests = [(n, f) for n, f in names.items() if n.startswith("test_")]
    failed = 0
    for name, function in tests:
        start = time.monotonic()
        try:
            function()
            print(f"ok   {name} ({time.monotonic() - start:.2f} s)")
        except Exception:  # one failure must not hide the other tests
            failed += 1
            print(f"FAIL {name}")
            traceback.print_exc(file=sys.stdout)
    print(f"{len(tests) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not tests else 0)

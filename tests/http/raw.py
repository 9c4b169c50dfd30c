"""raw.py - starts the echo server and speaks to it byte by byte; runs the test_* functions of a file."""

import json
import os
import socket
import subprocess
import sys
import time
import traceback


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Client:
    """One connection. recv_answer reads one answer; None when the server closed before it."""

    def __init__(self, port, family=socket.AF_INET, address=None, timeout=30):
        self.s = socket.socket(family, socket.SOCK_STREAM)
        self.s.settimeout(timeout)
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        self.s.connect(address or (host, port))
        self.left = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def send(self, data):
        self.s.sendall(data if isinstance(data, bytes) else data.encode())

    def _more(self):
        try:
            data = self.s.recv(65536)
        except ConnectionResetError:
            data = b""
        self.left += data
        return bool(data)

    def recv_answer(self, head_only=False):
        while b"\r\n\r\n" not in self.left:
            if not self._more():
                return None
        head, self.left = self.left.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        if status == 100:
            return Answer(100, headers, b"")
        want = 0 if head_only or status == 204 else int(headers["content-length"])
        while len(self.left) < want:
            if not self._more():
                raise AssertionError("answer was cut")
        body, self.left = self.left[:want], self.left[want:]
        return Answer(status, headers, body)

    def closed(self):
        """Did the server close (nothing more comes)?"""
        return not self.left and not self._more()

    def post(self, path, body=b"", headers=""):
        self.send(f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n")
        if body:
            self.send(body)
        return self.recv_answer()

    def get(self, path, method="GET", headers=""):
        self.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
        return self.recv_answer(head_only=method == "HEAD")


class Server:
    def __init__(self, *options):
        self.p = subprocess.Popen([sys.argv[1], *options], stdout=subprocess.PIPE)
        self.port = int(self.p.stdout.readline().split()[1])
        self.admin_port = int(self.p.stdout.readline().split()[1])

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.p.poll() is None:
            self.p.terminate()
        try:
            code = self.p.wait(30)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
            code = "none in time"
        self.p.stdout.close()
        if kind is None:
            assert code == 0, f"server's exit code: {code}"

    def client(self, **more):
        return Client(self.port, **more)

    def stats(self):
        with self.client() as c:
            return c.get("/stats").json()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.p.pid}/fd"))


def until(condition, seconds=30):
    """Wait for a condition; False when it did not come true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def main(names):
    failed = 0
    tests = [(n, f) for n, f in names.items() if n.startswith("test_")]
    for name, function in tests:
        try:
            start = time.monotonic()
            function()
            print(f"ok   {name} ({time.monotonic() - start:.2f} s)")
        except Exception:
            failed += 1
            print(f"FAIL {name}")
            traceback.print_exc(file=sys.stdout)
    print(f"{len(tests) - failed} of {len(tests)} passed")
    sys.exit(1 if failed or not tests else 0)

"""Starts the server under test on a free loopback port, and stops that process only."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request


class Daemon:
    def __init__(self, program, models, log):
        self.reserved = _reserved_port()
        self.url = "127.0.0.1:%d" % self.reserved.getsockname()[1]
        self.log = log
        # a model that is refused must show as its own failed check, not as a server that is never ready
        environment = {**os.environ, "RECURD_MODELS_STRICT_READY": "no"}
        self.process = subprocess.Popen([program, "--models", models, "--listen", self.url], env=environment,
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def wait_ready(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with status {self.process.returncode} before it was ready")
            try:
                with urllib.request.urlopen(f"http://{self.url}/v2/health/ready", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.05)
        raise RuntimeError(f"the server was not ready within {seconds} s")

    def stop(self, seconds=60):
        """Status of the process after SIGTERM; one that does not end is killed and gives None."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                return None
        return self.process.returncode


def _reserved_port():
    """A socket bound to a free port that nobody else is given while it is open: it does not listen, so the server, which
    sets SO_REUSEADDR as well, can."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    return s

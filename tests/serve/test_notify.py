"""test_notify.py - the service manager's protocol, with a datagram socket in the manager's place."""

import os
import pathlib
import signal
import socket
import tempfile
import time

import daemon


class Manager:
    """NOTIFY_SOCKET; `seen` holds (monotonic seconds, lines) of every message so far."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = str(pathlib.Path(self.folder.name) / "notify")
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind(self.path)
        self.seen = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()
        self.folder.cleanup()

    def read(self):
        self.s.setblocking(False)
        while True:
            try:
                text = self.s.recv(4096).decode()
            except BlockingIOError:
                return
            self.seen.append((time.monotonic(), text.split("\n")))

    def count(self, line):
        self.read()
        return sum(line in lines for _, lines in self.seen)

    def got(self, line, times=1, seconds=20):
        return daemon.until(lambda: self.count(line) >= times, seconds)

    def env(self, watchdog_us=None):
        env = {"NOTIFY_SOCKET": self.path}
        if watchdog_us is not None:
            env["WATCHDOG_USEC"] = str(watchdog_us)
        return env


def test_ready_comes_when_the_port_answers():
    with daemon.Repository("lstm_ts12", "tagger_ts14") as models, Manager() as m:
        with daemon.Daemon(models, env=m.env(), wait=False) as d:
            assert m.got("READY=1"), d.logged()
            assert d.is_ready(), "READY=1 before it was"
            assert any(line.startswith("STATUS=") and "2" in line for _, lines in m.seen for line in lines)
            assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for _, lines in m.seen for line in lines) or \
                m.count("READY=1") == 1, "neither quick nor asking for time"
            assert d.printed() == "", "no greeting for a manager"
            assert m.count("STOPPING=1") == 0
            assert d.stop() == 0
            assert m.count("STOPPING=1") == 1


def test_reload_is_told():
    with daemon.Repository("lstm_ts12") as models, Manager() as m, \
            daemon.Daemon(models, env=m.env()) as d:
        assert m.got("READY=1")
        d.send(signal.SIGHUP)
        assert m.got("RELOADING=1") and m.got("READY=1", 2)
        order = [line for _, lines in m.seen for line in lines if line in ("RELOADING=1", "READY=1")]
        assert order == ["READY=1", "RELOADING=1", "READY=1"], order
        reloading = next(lines for _, lines in m.seen if "RELOADING=1" in lines)
        sent = next(int(line.split("=")[1]) for line in reloading if line.startswith("MONOTONIC_USEC="))
        assert abs(sent / 1e6 - time.clock_gettime(time.CLOCK_MONOTONIC)) < 60


def test_watchdog_pings():
    with daemon.Repository("lstm_ts12") as models, Manager() as m, \
            daemon.Daemon(models, env=m.env(400000)) as d:
        assert m.got("WATCHDOG=1", 5, 10)
        times = [t for t, lines in m.seen if "WATCHDOG=1" in lines]
        assert times[-1] - times[0] >= 0.2, "faster than half of the interval"
        os.kill(d.process.pid, signal.SIGSTOP)  # a process that does nothing must not be pinged for
        time.sleep(0.1)
        before = m.count("WATCHDOG=1")
        time.sleep(0.6)
        silent = m.count("WATCHDOG=1") == before
        os.kill(d.process.pid, signal.SIGCONT)
        assert silent and m.got("WATCHDOG=1", before + 1)


def test_no_watchdog_unasked():
    with daemon.Repository("lstm_ts12") as models, Manager() as m, daemon.Daemon(models, env=m.env()):
        assert m.got("READY=1")
        time.sleep(0.5)
        assert m.count("WATCHDOG=1") == 0


if __name__ == "__main__":
    daemon.main(dict(globals()))

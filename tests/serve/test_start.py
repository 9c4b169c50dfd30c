"""The daemon's start and stop: exit status and message of each way it can end.

usage: test_start.py RECURD
"""
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
import urllib.request

RECURD = sys.argv[1]
NETS = pathlib.Path(os.environ["TEST_SOURCE_ROOT"]) / "tests/golden/nets"
WAIT_S = 30  # sanitizer builds on a busy machine


def run(*args):
    done = subprocess.run([RECURD, *args], capture_output=True, text=True, timeout=WAIT_S)
    return done.returncode, done.stderr


def repository(folder):
    """A repository of one golden network."""
    shutil.copytree(NETS / "acts_a_ts17", folder / "acts/1")
    return str(folder)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return json.load(answer)


class Daemon:
    def __init__(self, models):
        self.port = free_port()
        self.process = subprocess.Popen([RECURD, "--models", models, "--listen", f"127.0.0.1:{self.port}"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            try:
                if get(self.port, "/v2/health/ready")["ready"]:
                    return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError("not ready in time")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=WAIT_S)


def unknown_flag(_):
    status, text = run("--nope", "1")
    assert status == 2 and "--nope" in text, (status, text)


def missing_repository(folder):
    gone = str(folder / "gone")
    status, text = run("--models", gone, "--listen", f"127.0.0.1:{free_port()}")
    assert status == 1 and gone in text, (status, text)


def port_in_use(folder):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        address = "127.0.0.1:%d" % s.getsockname()[1]
        status, text = run("--models", repository(folder), "--listen", address)
    assert status == 1 and address in text, (status, text)


def check_names_a_broken_model(folder):
    models = repository(folder)
    (folder / "broken/1").mkdir(parents=True)
    (folder / "broken/1/model.onnx").write_bytes((folder / "acts/1/model.onnx").read_bytes()[:500])
    status, text = run("--check", "--models", models)
    assert status == 1 and "broken" in text, (status, text)


def broken_model_leaves_others(folder):
    models = repository(folder)
    (folder / "broken/1").mkdir(parents=True)
    (folder / "broken/1/model.onnx").write_bytes(b"no model")
    os.environ["RECURD_MODELS_STRICT_READY"] = "no"
    try:
        with Daemon(models) as d:
            assert get(d.port, "/v2/models/acts/ready")["ready"]
    finally:
        del os.environ["RECURD_MODELS_STRICT_READY"]


def stops_on_sigterm(folder):
    with Daemon(repository(folder)) as d:
        d.process.send_signal(signal.SIGTERM)
        assert d.process.wait(timeout=WAIT_S) == 0


def reads_again_on_sighup(folder):
    with Daemon(repository(folder)) as d:
        shutil.copytree(NETS / "gru_ts18", folder / "later/1")
        d.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            try:
                assert get(d.port, "/v2/models/later")["name"] == "later"
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the new model is not there")


def main():
    passed = failed = 0
    for test in (unknown_flag, missing_repository, port_in_use, check_names_a_broken_model,
                 broken_model_leaves_others, stops_on_sigterm, reads_again_on_sighup):
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(pathlib.Path(folder))
                passed += 1
            except Exception as error:  # one failing case must not hide the others
                failed += 1
                print(f"FAIL {test.__name__}: {type(error).__name__}: {error}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())

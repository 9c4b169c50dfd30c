"""test_refusals.py - what the daemon says and with which status it ends, when it cannot or need not serve."""

import pathlib
import socket
import tempfile

import daemon


def test_help_and_version():
    status, out, err = daemon.run("--help")
    assert status == 0 and "--listen" in out and "drain" in out and not err
    status, out, err = daemon.run("--version")
    assert status == 0 and out.startswith("recurd ") and not err


def test_bad_flags():
    for arguments, named in (
            (("--nonsense",), "nonsense"),
            (("--models-dirr", "x"), "--models-dir?"),
            (("--server-max-body", "much"), "much"),
            (("--engine-workers", "100000"), "100000"),
            (("--listen",), "listen"),
            (("--config", "/nonexistent.conf"), "/nonexistent.conf"),
            (("--engine-cpu-level", "sse"), "sse")):
        status, out, err = daemon.run(*arguments)
        assert status == 2 and not out and named in err, (arguments, status, out, err)
    status, _, err = daemon.run(env={"RECURD_SERVER_MAX_BODY": "-4"})
    assert status == 2 and "RECURD_SERVER_MAX_BODY" in err, (status, err)


def test_bad_file():
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as f:
        f.write("[server]\nmax_boddy = 8M\n")
        f.flush()
        status, _, err = daemon.run("--config", f.name)
        assert status == 2 and "max_boddy" in err and "2" in err and f.name in err, (status, err)


def test_missing_folder():
    for check in ((), ("--check",)):
        status, _, err = daemon.run("--models", "/nonexistent/models", "--listen", "127.0.0.1:0", *check)
        assert status == 1 and "/nonexistent/models" in err and "No such file" in err, (status, err)
    with tempfile.NamedTemporaryFile() as f:
        status, _, err = daemon.run("--models", f.name, "--listen", "127.0.0.1:0")
        assert status == 1 and "directory" in err, (status, err)


def test_port_in_use():
    with daemon.Repository() as models, socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        address = f"127.0.0.1:{s.getsockname()[1]}"
        status, _, err = daemon.run("--models", models.path, "--listen", address)
        assert status == 1 and address in err and "in use" in err, (status, err)
        status, _, err = daemon.run("--models", models.path, "--listen", "127.0.0.1:0",
                                    "--metrics-listen", address)
        assert status == 1 and address in err and "metrics.listen" in err, (status, err)


def test_bad_address():
    with daemon.Repository() as models:
        for address in ("nowhere", "127.0.0.1:99999", "example.org:80"):
            status, _, err = daemon.run("--models", models.path, "--listen", address)
            assert status in (1, 2) and address in err, (address, status, err)


def test_check_of_good_models():
    with daemon.Repository("lstm_ts12", "tagger_ts14") as models, socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()  # --check must not want the port
        status, _, err = daemon.run("--models", models.path, "--check", "--listen",
                                    f"127.0.0.1:{s.getsockname()[1]}")
        assert status == 0, (status, err)


def test_check_names_what_is_wrong():
    with daemon.Repository("lstm_ts12") as models:
        models.add("lstm_ts12", "cut", size=700)
        status, _, err = daemon.run("--models", models.path, "--check")
        assert status == 1 and "cut" in err, (status, err)


def test_greeting():
    with daemon.Repository("lstm_ts12") as models:
        models.add("lstm_ts12", "cut", size=700)
        with daemon.Daemon(models, "--models-strict-ready", "no") as d:
            assert daemon.until(lambda: "Try:" in d.printed())
            text = d.printed()
            assert d.address in text and "lstm_ts12" in text and "FP32" in text and "curl -s http" in text
            assert "cut" in text and "not served" in text


def test_many_listeners_and_unix():
    with daemon.Repository("lstm_ts12") as models, tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "recurd.sock"
        more = f"127.0.0.1:{daemon.free_port()} , unix:{path}"
        with daemon.Daemon(models, "--metrics-listen", more) as d:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(10)
                s.connect(str(path))
                s.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert s.recv(100).startswith(b"HTTP/1.1 200")
            d.port = int(more.split(" ")[0].rsplit(":", 1)[1])
            assert d.call("GET", "/metrics")[0] == 200
        assert not path.exists(), "the socket stays behind"


if __name__ == "__main__":
    daemon.main(dict(globals()))

"""test_answers.py - requests to the whole daemon: golden numbers, equal bits in any company, errors, metrics."""

import json
import shutil
import socket
import subprocess

import daemon
import golden

NETS = ("lstm_ts12", "classifier_len_ts16", "char_model_ts17", "tagger_ts14", "lstm_init_ts18")


def test_golden_answers():
    with daemon.Repository(*NETS) as models, daemon.Daemon(models) as d:
        for net in NETS:
            for number in range(2):
                answer = json.loads(d.infer(net, golden.request(net, number)))
                assert answer["model_name"] == net and answer["model_version"] == "1"
                expected = golden.case(net, number)[1]
                assert len(answer["outputs"]) == len(expected)
                for got, want in zip(answer["outputs"], expected):
                    assert golden.difference(got, want) <= 1e-5, (net, number, want.name)


WIDTHS = {"lstm_ts12": 6, "lstm_3l_nobias_ts17": 5}


def mixed_requests(n):
    """(model, body): three models, one to 300 steps, one or two rows, values all different."""
    out = []
    for i in range(n):
        model = ("char_model_ts17", *WIDTHS)[i % 3]
        rows, steps = 1 + i % 2, 1 + (i * 37) % 300
        if model in WIDTHS:
            shape, kind, name = [rows, steps, WIDTHS[model]], "FP32", "x"
            data = [((i * 31 + t * 17) % 401 - 200) / 97 for t in range(rows * steps * WIDTHS[model])]
        else:
            shape, kind, name = [rows, steps], "INT64", "tokens"
            data = [(i + 7 * t) % 40 for t in range(rows * steps)]
        out.append((model, json.dumps({"id": str(i), "inputs": [
            {"name": name, "datatype": kind, "shape": shape, "data": data}]})))
    return out


def send_all(d, requests):
    """All requests are on their way before the first answer is read."""
    sockets, bodies = [], []
    for model, body in requests:
        s = socket.create_connection(("127.0.0.1", d.port), timeout=60)
        s.sendall(f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        sockets.append(s)
    for s in sockets:
        with s, s.makefile("rb") as f:
            head, body = f.read().split(b"\r\n\r\n", 1)
            assert head.startswith(b"HTTP/1.1 200"), (head, body)
            bodies.append(body)
    return bodies


def executions(d):
    stats = json.loads(d.call("GET", "/v2/models/stats")[1])["model_stats"]
    return sum(m["execution_count"] for m in stats)


def test_same_bits_alone_and_in_company():
    requests = mixed_requests(32)
    with daemon.Repository("char_model_ts17", *WIDTHS) as models:
        with daemon.Daemon(models, "--engine-workers", "1", "--batching-max-delay-us", "2000") as d:
            alone = [d.infer(model, body) for model, body in requests]
            assert len(set(alone)) == 32, "the requests must differ, or the test sees nothing"
            rounds, before = 0, executions(d)
            while rounds < 6:
                assert send_all(d, requests) == alone
                rounds += 1
            runs = executions(d) - before
            assert runs < rounds * len(requests), "no batch was ever formed"


def test_head_and_errors():
    with daemon.Repository("lstm_ts12") as models, daemon.Daemon(models) as d:
        get, head = d.call("GET", "/v2"), d.call("HEAD", "/v2")
        assert head[0] == 200 and head[1] == b""
        assert head[2]["Content-Length"] == get[2]["Content-Length"] == str(len(get[1]))
        status, body, headers = d.call("GET", "/nowhere")
        assert status == 404 and headers["Content-Type"] == "application/json"
        assert isinstance(json.loads(body)["error"], str)
        status, body, headers = d.call("GET", "/v2/models/lstm_ts12/infer")
        assert status == 405 and headers["Allow"] == "POST", (status, headers["Allow"])
        status, body, _ = d.call("POST", "/v2/models/absent/infer", "{}")
        assert status in (400, 404) and b"absent" in body, (status, body)
        for bad in ("", "{", "[]", '{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1,6],"data":[1]}]}',
                    '{"inputs":[{"name":"y","datatype":"FP32","shape":[1,1,6],"data":[1,2,3,4,5,6]}]}'):
            status, body, _ = d.call("POST", "/v2/models/lstm_ts12/infer", bad)
            assert status == 400 and json.loads(body)["error"], (bad, status, body)
        d.infer("lstm_ts12", golden.request("lstm_ts12"))


def test_request_id_comes_back():
    with daemon.Repository("lstm_ts12") as models, daemon.Daemon(models, "--log-access-log", "yes") as d:
        headers = d.call("GET", "/v2", headers={"X-Request-Id": "abc-123"})[2]
        assert headers["X-Request-Id"] == "abc-123"
        assert daemon.until(lambda: "abc-123" in d.logged()), d.logged()


def test_metrics_please_promtool():
    with daemon.Repository("lstm_ts12", "tagger_ts14") as models, daemon.Daemon(models) as d:
        d.infer("lstm_ts12", golden.request("lstm_ts12"))
        d.call("POST", "/v2/models/lstm_ts12/infer", "{}")
        status, page, headers = d.call("GET", "/metrics")
        assert status == 200 and headers["Content-Type"].startswith("text/plain"), headers["Content-Type"]
        assert b"process_" in page and b"lstm_ts12" in page
        promtool = shutil.which("promtool")
        assert promtool, "Debian's prometheus package has it"
        p = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False,
                           timeout=120)
        assert p.returncode == 0 and not p.stdout + p.stderr, p.stdout + p.stderr


def test_listeners():
    port, admin = daemon.free_port(), daemon.free_port()
    with daemon.Repository("lstm_ts12") as models, daemon.Daemon(
            models, "--metrics-listen", f"127.0.0.1:{port}", "--server-admin-listen", f"127.0.0.1:{admin}") as d:
        path = "/v2/repository/models/lstm_ts12/load"
        assert d.call("POST", path)[0] == 403
        d.port = port
        assert d.call("GET", "/metrics")[0] == 200
        d.port = admin
        assert d.call("POST", path)[0] == 200


if __name__ == "__main__":
    daemon.main(dict(globals()))

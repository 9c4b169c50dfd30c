"""test_life.py - signals and changes while it serves: drain, reload, leaving at once, broken models."""

import http.client
import json
import re
import signal
import socket
import threading
import time

import daemon
import golden

NET = "lstm_ts12"


class Client(threading.Thread):
    """Sends requests on one connection until the server ends it. `lost` counts requests that the kernel had
    before the stop signal and that got no answer; `wrong` answers that differ from the first."""

    def __init__(self, d, body, stopping):
        super().__init__()
        self.d, self.body, self.stopping = d, body, stopping
        self.good = self.lost = self.wrong = 0
        self.want = None

    def run(self):
        c = self.d.connect()
        status = 200
        try:
            while status == 200:
                early = False
                c.request("POST", f"/v2/models/{NET}/infer", self.body)
                early = not self.stopping.is_set()
                r = c.getresponse()
                body, status = r.read(), r.status
                if status == 200:
                    self.want = self.want or body
                    self.good += 1
                    self.wrong += body != self.want
                else:
                    self.wrong += 1  # what comes before the connection closes is served
        except (http.client.HTTPException, OSError):
            self.lost += early
        finally:
            c.close()


def long_request(steps):
    data = [((t * 17) % 401 - 200) / 97 for t in range(steps * 6)]
    return json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, steps, 6], "data": data}]})


def test_drain_loses_no_answer():
    with daemon.Repository(NET) as models:
        for _ in range(3):
            with daemon.Daemon(models) as d:
                stopping = threading.Event()
                clients = [Client(d, long_request(150), stopping) for _ in range(12)]
                for c in clients:
                    c.start()
                assert daemon.until(lambda: all(c.good >= 5 for c in clients), 60)
                stopping.set()
                assert d.stop() == 0, d.logged()
                for c in clients:
                    c.join(60)
                    assert not c.is_alive() and c.good > 0
                    assert (c.lost, c.wrong) == (0, 0), (c.lost, c.wrong)


def test_drain_finishes_what_waits():
    """One worker, one row a batch: at SIGTERM most of these are in the queue, and all must be served. When clients are
    slower than the worker, nothing waits and nothing is tested: then once more, with longer ones."""
    assert any(drain_finishes(steps) for steps in (3000, 12000, 48000)), "no request was ever waiting"


def drain_finishes(steps):
    n, net = 24, "char_model_ts17"
    body = json.dumps({"inputs": [{"name": "tokens", "datatype": "INT64", "shape": [1, steps],
                                   "data": [t % 40 for t in range(steps)]}]})
    request = (f"POST /v2/models/{net}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
               f"{body}").encode()
    with daemon.Repository(net) as models, daemon.Daemon(
            models, "--engine-workers", "1", "--batching-max-rows", "1") as d:
        want = d.infer(net, body)
        sockets = [socket.create_connection(("127.0.0.1", d.port), timeout=60) for _ in range(n)]
        for s in sockets:
            s.sendall(request)
        waiting = wait_until_taken(d, n + 1)
        d.send(signal.SIGTERM)
        for s in sockets:
            with s, s.makefile("rb") as f:
                head, answer = f.read().split(b"\r\n\r\n", 1)
                assert head.startswith(b"HTTP/1.1 200") and answer == want, (head, answer[:200])
        assert d.wait() == 0
    return waiting >= 3


def wait_until_taken(d, n):
    """Until n requests were queued, run or answered; how many of them wait in the queue."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        page = d.call("GET", "/metrics")[1].decode()
        waiting, running, done = (sum(float(v) for v in re.findall(rf"^{name} (\S+)$", page, re.M)) for name in (
            r"recurd_queue_depth\S*", r"recurd_running_requests\S*", r"recurd_requests_total\S*success\S*"))
        if waiting + running + done >= n:
            return waiting
    raise AssertionError("the requests were not taken")


def test_not_ready_while_draining():
    with daemon.Repository(NET) as models, daemon.Daemon(models, "--server-drain-delay", "5s") as d:
        start = time.monotonic()
        d.send(signal.SIGTERM)
        assert daemon.until(lambda: not d.is_ready())
        assert d.call("GET", "/v2/health/ready")[0] == 503
        assert d.call("GET", "/v2/health/live")[0] == 200
        assert d.wait() == 0
        assert time.monotonic() - start > 4.9, "the delay was not kept"


def test_second_signal_leaves_at_once():
    for number in (signal.SIGINT, signal.SIGTERM):
        with daemon.Repository(NET) as models, daemon.Daemon(models, "--server-drain-delay", "60s") as d:
            d.send(number)
            assert daemon.until(lambda: not d.is_ready())
            start = time.monotonic()
            d.send(number)
            assert d.wait(50) == 128 + number
            assert time.monotonic() - start < 30, "it waited for the delay"


def test_reload_takes_new_and_drops_old():
    with daemon.Repository(NET, "tagger_ts14") as models, daemon.Daemon(models) as d:
        assert d.index()["tagger_ts14"]["state"] == "READY"
        models.remove("tagger_ts14")
        models.add("gru_ts12")
        d.send(signal.SIGHUP)
        assert daemon.until(lambda: d.index().get("gru_ts12", {}).get("state") == "READY")
        assert daemon.until(lambda: d.call("POST", "/v2/models/tagger_ts14/infer",
                                           golden.request("tagger_ts14"))[0] == 404)
        answer = json.loads(d.infer("gru_ts12", golden.request("gru_ts12")))
        assert golden.difference(answer["outputs"][0], golden.case("gru_ts12")[1][0]) <= 1e-5
        d.infer(NET, golden.request(NET))


def test_reload_reads_the_configuration():
    with daemon.Repository(NET) as models:
        conf = models.path.with_suffix(".conf")
        try:
            conf.write_text("[log]\naccess_log = no\n")
            with daemon.Daemon(models, "--config", str(conf)) as d:
                d.call("GET", "/v2/unlogged")
                conf.write_text("[log]\naccess_log = yes\n[batching]\nmax_rows = 7\n")
                d.send(signal.SIGHUP)
                assert daemon.until(lambda: "max_rows" in d.logged()), "what needs a restart is not named"
                assert daemon.until(lambda: d.call("GET", "/v2/logged") and "/v2/logged" in d.logged())
                assert "/v2/unlogged" not in d.logged()
                conf.write_text("[log]\naccess_log = perhaps\n")
                d.send(signal.SIGHUP)
                assert daemon.until(lambda: "perhaps" in d.logged())
                d.infer(NET, golden.request(NET))
        finally:
            conf.unlink()


def test_poll_sees_changes():
    with daemon.Repository(NET) as models, daemon.Daemon(
            models, "--models-control", "poll", "--models-poll-interval", "1s") as d:
        models.add("gru_ts12")
        assert daemon.until(lambda: d.index().get("gru_ts12", {}).get("state") == "READY")
        assert d.call("POST", "/v2/repository/models/gru_ts12/unload")[0] == 200


def test_fixed_refuses_control():
    with daemon.Repository(NET) as models, daemon.Daemon(models, "--models-control", "fixed") as d:
        assert d.call("POST", f"/v2/repository/models/{NET}/unload")[0] == 409
        d.infer(NET, golden.request(NET))


def test_broken_models_do_not_stop_the_others():
    with daemon.Repository(NET) as models:
        models.add(NET, "cut", size=900)
        models.add(NET, "empty", size=0)
        (models.path / "bare").mkdir()
        with daemon.Daemon(models, "--models-strict-ready", "no") as d:
            answer = json.loads(d.infer(NET, golden.request(NET)))
            assert golden.difference(answer["outputs"][0], golden.case(NET)[1][0]) <= 1e-5
            index = d.index()
            for name in ("cut", "empty"):
                assert index[name]["state"] == "UNAVAILABLE" and index[name]["reason"], index
                assert name in d.logged()
                status, body, _ = d.call("POST", f"/v2/models/{name}/infer", golden.request(NET))
                assert status in (400, 404) and name.encode() in body, (status, body)


def test_strict_ready_wants_every_model():
    with daemon.Repository(NET) as models:
        models.add(NET, "cut", size=900)
        with daemon.Daemon(models, wait=False) as d:
            assert daemon.until(lambda: "ready" in d.logged()), d.logged()
            assert d.call("GET", "/v2/health/ready")[0] == 503
            d.infer(NET, golden.request(NET))


if __name__ == "__main__":
    daemon.main(dict(globals()))

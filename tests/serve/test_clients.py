"""test_clients.py - the example clients, run against the bundled model that they ask for."""

import json
import shutil
import subprocess
import sys

import daemon
from golden import ROOT


class Sunspots(daemon.Repository):
    def __init__(self):
        super().__init__()
        shutil.copytree(ROOT / "models" / "sunspots", self.path / "sunspots")


def run(*command):
    p = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)
    return p.returncode, p.stdout, p.stderr


def test_curl_tour():
    with Sunspots() as models, daemon.Daemon(models) as d:
        status, out, err = run(ROOT / "clients" / "calls.sh", f"http://{d.address}")
        assert status == 0 and not err, (status, out, err)
        parts = out.split("== ")
        answers = [json.loads(p.split("\n", 1)[1]) for p in parts if "sunspots/infer" in p.split("\n")[0]]
        assert len(answers) == 3 and [len(a["outputs"][0]["data"]) for a in answers] == [12, 24, 12]
        assert answers[1]["id"] == "second"
        assert "status 400" in out and "# HELP" in parts[-1]


def test_curl_tour_without_a_server():
    status, _, err = run(ROOT / "clients" / "calls.sh", f"http://127.0.0.1:{daemon.free_port()}")
    assert status != 0 and err


def test_c_example():
    with Sunspots() as models, daemon.Daemon(models) as d:
        status, out, err = run(sys.argv[2], f"http://{d.address}")
        assert status == 0 and len(out.splitlines()) == 12, (status, out, err)
        infer = json.loads(d.infer("sunspots", json.dumps({"inputs": [
            {"name": "series", "datatype": "FP32", "shape": [1, 3, 1], "data": [90, 85.5, 80]}]})))
        status, out, err = run(sys.argv[2], f"http://{d.address}", "90", "85.5", "80")
        want = [f"month {i}: {v:.1f}" for i, v in enumerate(infer["outputs"][0]["data"], 1)]
        assert (status, out.splitlines()) == (0, want), (status, out, err)
        d.call("POST", "/v2/repository/models/sunspots/unload")
        status, out, err = run(sys.argv[2], f"http://{d.address}")
        assert status == 1 and not out and "sunspots" in err, (status, out, err)


if __name__ == "__main__":
    daemon.main(dict(globals()))

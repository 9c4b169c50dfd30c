"""Models with reduced weights: "weights" of model.json, what the answers lose, who sees what.

usage: test_reduced.py RECURD RECURCTL."""

import json
import subprocess
import sys

import daemon
import golden
from session_client import Client
from session_nets import CHAR, GRU, LSTM, RNG, Models

NET = "lstm_ts12"


def answers(d, model, body):
    """{output: its numbers}."""
    return {o["name"]: o["data"] for o in json.loads(d.infer(model, body))["outputs"]}


def worst(a, b):
    """Largest difference, over the largest number of what is wanted."""
    return max(max(abs(x - y) for x, y in zip(a[n], b[n], strict=True)) / max(map(abs, b[n])) for n in b)


def setting(models, name, value):
    (models.path / name / "model.json").write_text(json.dumps({"weights": value}))


def test_weights_are_chosen_in_model_json():
    body = golden.request(NET)
    with daemon.Repository() as models:
        for kind in ("none", "f32", "bf16", "int8"):
            models.add(NET, kind)
            if kind != "none":
                setting(models, kind, kind)
        with daemon.Daemon(models) as d:
            got = {kind: answers(d, kind, body) for kind in ("none", "f32", "bf16", "int8")}
            assert got["none"] == got["f32"]
            for kind in ("bf16", "int8"):
                assert 1e-7 < worst(got[kind], got["f32"]) < 0.02, kind
            for kind in ("f32", "bf16", "int8"):
                extras = json.loads(d.call("GET", f"/v2/models/{kind}")[1])["recurd"]
                assert extras["weights"] == kind
                config = json.loads(d.call("GET", f"/v2/models/{kind}/config")[1])
                assert config["parameters"]["recurd_weights"]["string_value"] == kind
                plan = d.call("GET", f"/v2/models/{kind}/plan")[1].decode()
                assert (f"weights {kind}: " in plan) == (kind != "f32"), plan
            assert json.loads(d.call("GET", "/v2/models/none")[1])["recurd"]["weights"] == "f32"


def test_a_wrong_value_is_refused_by_name():
    with daemon.Repository(NET) as models:
        for value, said in (("fp4", "is 'fp4'"), (8, "is an integer"), (None, "is null")):
            setting(models, NET, value)
            with daemon.Daemon(models, wait=False) as d:
                assert daemon.until(lambda d=d: daemon_reason(d) is not None), d.logged()
                reason = daemon_reason(d)
                assert f'{NET}/model.json: weights: {said}, want "f32", "bf16" or "int8"' in reason, reason


def daemon_reason(d):
    try:
        return d.index()[NET].get("reason") or None
    except (OSError, KeyError):
        return None


def test_a_change_is_taken_up_by_a_reload():
    body = golden.request(NET)
    with daemon.Repository(NET) as models, daemon.Daemon(models) as d:
        before = answers(d, NET, body)
        setting(models, NET, "int8")
        assert d.call("POST", f"/v2/repository/models/{NET}/load", "{}")[0] == 200
        reduced = answers(d, NET, body)
        assert reduced != before and worst(reduced, before) < 0.02
        (models.path / NET / "model.json").unlink()
        assert d.call("POST", f"/v2/repository/models/{NET}/load", "{}")[0] == 200
        assert answers(d, NET, body) == before


def test_sessions_step_with_the_bits_of_the_whole():
    nets = {"lstm": LSTM, "gru": GRU, "char": CHAR}
    for kind in ("bf16", "int8"):
        with Models() as models:
            for name, net in nets.items():
                models.put(name, net, weights=kind)
            with daemon.Daemon(models) as d:
                for name, net in nets.items():
                    with Client(d.port, name) as c:
                        sizes = (1, 2, 1, 9)
                        steps, at = net.steps(RNG, sum(sizes)), 0
                        want = net.whole(c, steps)[0]
                        for i, size in enumerate(sizes):
                            a = c.step(7, net.inputs(steps[at:at + size]), start=i == 0, end=i == len(sizes) - 1)
                            assert net.split(a[net.output]) == want[at:at + size], (kind, name, i)
                            at += size


def report(*arguments, status=0):
    p = subprocess.run([sys.argv[2], "quantize", "--report", *map(str, arguments)], capture_output=True, text=True,
                       timeout=400, stdin=subprocess.DEVNULL, check=False)
    assert p.returncode == status, (p.returncode, p.stdout, p.stderr)
    return p.stdout if status == 0 else p.stderr


# What is lost on the bundled models: root mean square over that of the outputs, share of other largest elements.
LOSS = {"bf16": (0.004, 0.01), "int8": (0.025, 0.025)}
SORTS = (1, 0.25)  # sort pooling puts two nodes of nearly equal value in another order


def test_report_on_the_bundled_models():
    rows = json.loads(report(golden.ROOT / "models", "--json"))
    names = sorted(p.parent.name for p in (golden.ROOT / "models").glob("*/1"))
    assert [r["model"] for r in rows] == [n for n in names for _ in range(3)]
    for f32, *reduced in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        assert (f32["weights"], f32["largest_difference"], f32["speed"]) == ("f32", 0, 1)
        assert reduced[0]["megabytes"] < 0.55 * f32["megabytes"]
        assert reduced[1]["megabytes"] < 0.45 * f32["megabytes"]
        for row in reduced:
            rms, other = SORTS if row["model"].startswith("dgcnn") else LOSS[row["weights"]]
            assert row["runs"] >= 12, row  # made-up edges may end beyond the made-up nodes: such a run is none
            assert 0 < row["relative_rms"] < rms, row
            assert row["argmax_equal"] >= (1 - other) * row["argmax_rows"] > 0, row


def test_report_on_one_model_and_request():
    body = golden.request(NET)
    with daemon.Repository(NET) as models:
        file = models.path / "request.json"
        file.write_bytes(body if isinstance(body, bytes) else body.encode())
        text = report(models.path / NET, "-f", file)
        assert [line.split()[-1] for line in text.splitlines()][:1] == ["ARGMAX"] and "int8" in text, text
        # as the server answers
        with daemon.Daemon(models) as d:
            f32 = answers(d, NET, body)
            setting(models, NET, "int8")
            assert d.call("POST", f"/v2/repository/models/{NET}/load", "{}")[0] == 200
            int8 = answers(d, NET, body)
        (row,) = [r for r in json.loads(report(models.path / NET, "-f", file, "--json")) if r["weights"] == "int8"]
        largest = max(abs(x - y) for n in f32 for x, y in zip(f32[n], int8[n], strict=True))
        assert abs(row["largest_difference"] - largest) <= 1e-7, (row, largest)  # as decimals
        file.write_text(json.dumps({"inputs": [{"name": "z", "datatype": "FP32", "shape": [1], "data": [1]}]}))
        assert "no input 'z'" in report(models.path / NET, "-f", file, status=1)
        file.write_text("{")
        assert "request.json" in report(models.path / NET, "-f", file, status=2)
        assert "folder of one model" in report(models.path, "-f", file, status=2)
        (models.path / NET / "model.json").write_text('{"weight": "int8"}')
        assert "unknown key 'weight'" in report(models.path, status=1)
        models.remove(NET)
        assert "no model" in report(models.path, status=1)
    assert "nonexistent" in report("/nonexistent", status=2)


if __name__ == "__main__":
    daemon.main(dict(globals()))

"""Models with reduced weights: "weights" of model.json, what the answers lose, who sees what.

usage: test_reduced.py RECURD RECURCTL."""

import json
import sys

import daemon
import golden

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


if __name__ == "__main__":
    daemon.main(dict(globals()))

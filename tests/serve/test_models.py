"""The bundled models answer what their READMEs say: the curl line's body, or what the program before it
prints, against the printed answer.

usage: test_models.py RECURD. Tolerance 1e-5 of the largest value: the answers are ONNX Runtime's."""

import json
import os
import pathlib
import re
import subprocess
import sys
import types

import daemon

MODELS = pathlib.Path(os.environ["TEST_SOURCE_ROOT"]) / "models"


def readme_call(folder):
    """(request body, answer) of the README's last curl line and the answer after it. The body stands in the line, or
    a Python program before it prints it (a graph's features fill no line)."""
    text = (folder / "README.md").read_text()
    call = re.search(r"```sh\n(?:curl -s \S+ -d '([^']*)'|python3 -c '([^']*)' \|\ncurl -s \S+ -d @-)\n```\n\n"
                     r"```json\n(.*?)```", text, re.S)
    assert call, f"{folder.name}: no curl line with an answer"
    body, program, answer = call.groups()
    if program is not None:
        body = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True,
                              cwd=MODELS.parent).stdout
    return body, json.loads(answer)


def served():
    return sorted(p.parent.name for p in MODELS.glob("*/1"))


def test_readme_answers():
    names = served()
    assert len(names) >= 3, names
    with daemon.Daemon(types.SimpleNamespace(path=MODELS)) as d:
        for name in names:
            body, want = readme_call(MODELS / name)
            status, got = d.call("POST", f"/v2/models/{name}/infer", body)[:2]
            assert status == 200, (name, got)
            for a, b in zip(json.loads(got)["outputs"], want["outputs"], strict=True):
                assert (a["name"], a["shape"]) == (b["name"], b["shape"]), name
                limit = 1e-5 * max(1, *map(abs, b["data"]))
                worst = max(abs(x - y) for x, y in zip(a["data"], b["data"], strict=True))
                assert worst <= limit, (name, a["name"], worst)


def test_states_carry_on():
    """Two characters at once, and one by one with the states sent back: the same bits."""
    def ask(d, tokens, states):
        inputs = [{"name": "tokens", "datatype": "INT64", "shape": [1, len(tokens)], "data": tokens}]
        inputs += [{"name": n, "datatype": "FP32", "shape": [2, 1, 320], "data": v} for n, v in states.items()]
        status, got = d.call("POST", "/v2/models/char-lstm/infer", json.dumps({"inputs": inputs}))[:2]
        assert status == 200, got
        return {o["name"]: o["data"] for o in json.loads(got)["outputs"]}

    with daemon.Daemon(types.SimpleNamespace(path=MODELS)) as d:
        whole = ask(d, [55, 59], {})
        first = ask(d, [55], {})
        second = ask(d, [59], {"h0": first["hn"], "c0": first["cn"]})
        assert first["logits"] + second["logits"] == whole["logits"]
        assert (second["hn"], second["cn"]) == (whole["hn"], whole["cn"])


if __name__ == "__main__":
    daemon.main(dict(globals()))

"""Writes the README.md that lists the golden networks."""

import os

import onnx

import operators
from expect import TOLERANCE

EXPORTERS = {"old": "torch 1.13", "oldfn": "torch 1.13, modules as functions", "ts": "torch 2.13 TorchScript",
             "dyn": "torch 2.13 dynamo", "dynraw": "torch 2.13 dynamo, optimize=False"}

# What the exporters do with the kinds of network in the table, found while it was written.
FACTS = """
## What the exporters do

* dynamo unrolls `nn.RNN` into MatMul, Add and Tanh per step, with the time axis fixed; `nn.LSTM` and `nn.GRU` become
  `LSTM` and `GRU` (`linear_before_reset=1`, `layout=0`). Directly on a graph input it may fix the time axis too, and it
  declares outputs with the traced length (`y[B,6,8]`) although they follow the input: declared output dims are no promise.
* dynamo asked for an opset below 16 gives 18 (16 and 17 work for most networks).
* `proj_size`: both TorchScript exporters refuse; dynamo emits an `LSTM` that is not valid (c0 of width `hidden_size` beside
  W of another); ONNX Runtime refuses it.
* torch 1.13 freezes the batch size inside the zero state of a packed sequence (the input still says it is dynamic); 2.13
  does not. dynamo cannot export packed sequences.
* torch 2.13's TorchScript exporter crashes where the padded output of a packed sequence is not used (only `h_n` is).
* `threshold` with a threshold other than 0: dynamo only. `torch.cond`: dynamo only. Circular padding by torch 1.13 gives
  another result than PyTorch (the model is run as written).
* a strided convolution before a GRU: dynamo refuses (it cannot prove a bound of the time axis).
"""

HEAD = """# Golden networks

Made by `tests/golden/gen/make.py`; do not edit. Each folder holds `model.onnx` and two or more
`test_data_set_<k>/{input,output}_<i>.pb`; the outputs are ONNX Runtime's (one thread). A network is right when
every output is within 1e-5 of them, relative to the largest absolute value of the output, or absolute where
that is below 1. The sets differ in batch and time unless the exporter fixed a dim (column *fixed*).
"""


def reason(path):
    if not os.path.exists(path):
        return "the exporter's process ended"
    with open(path) as file:
        lines = [line.strip() for line in file if line.strip()]
    errors = [line for line in lines if "Error" in line.split(" ")[0] or "Unsupported" in line]
    return (errors or lines)[-1][:200]


def write(out, written, refused, table):
    lines = [HEAD]
    if table != "table":
        lines.append(f"Rows: `{table}`.\n")
    lines += ["| network | exporter | opset | inputs | layers | fixed | operators |", "|---|---|---|---|---|---|---|"]
    notes = []
    for name, row, exporter, opset, facts in written:
        model = onnx.load(os.path.join(out, name, "model.onnx"))
        got = operators.opset(model)
        inputs = " ".join(f"{i.name}[{','.join(map(str, i.dims))}]" for i in row.inputs)
        fixed = " ".join(f"{k}={v}" for k, v in facts["fixed"].items())
        lines.append(f"| {name} | {EXPORTERS[exporter]} | {got} | {inputs} | {_text(row.layers)} | {fixed} | "
                     f"{' '.join(operators.operators(model))} |")
        if got != opset:
            notes.append(f"* {name}: opset {opset} was asked, {got} came.")
        if facts["torch"] > TOLERANCE:
            notes.append(f"* {name}: ONNX Runtime and PyTorch differ by {facts['torch']:.1e}. {row.note}")
        elif row.note:
            notes.append(f"* {name}: {row.note}.")
    if table == "table":
        lines.append(FACTS)
    if notes:
        lines += ["\n## Notes\n"] + notes
    if refused:
        lines += ["\n## Not exported\n"] + [f"* {name}: {why}" for name, why in refused]
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "README.md"), "w") as file:
        file.write("\n".join(lines) + "\n")


def _text(layers):
    return ", ".join(f"residual({_text(p)})" if isinstance(p, list) else p for p in layers)

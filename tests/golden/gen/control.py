"""control.py - loops, scans, lists of tensors, Unique and Einsum: exported by PyTorch where it writes them, by hand else.

usage: control.py FOLDER [SEED]. The answers are ONNX Runtime's."""

import logging
import pathlib
import shutil
import sys
import warnings
from typing import List

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper, parser
from strip import strip
from torch import nn

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


class Cells(nn.Module):
    """A cell called in a scripted loop; the outputs are gathered in a list."""

    def __init__(self):
        super().__init__()
        self.i, self.h, self.out = nn.Linear(4, 10), nn.Linear(5, 10), nn.Linear(5, 2)

    def forward(self, x):
        h = torch.zeros(x.size(1), 5)
        rows: List[torch.Tensor] = []
        for t in range(x.size(0)):
            z, n = (self.i(x[t]) + self.h(h)).chunk(2, 1)
            h = h + torch.sigmoid(z) * (torch.tanh(n) - h)
            rows.append(self.out(h))
        return torch.stack(rows), h


class Until(nn.Module):
    """A loop whose end the data decide, with a branch inside."""

    def forward(self, x):
        steps = torch.zeros((), dtype=torch.int64)
        while bool(x.abs().sum() > 1.0) and bool(steps < 40):
            if bool(x.sum() > 0):
                x = x * 0.5
            else:
                x = x * 0.8 + 0.01
            steps += 1
        return x, steps


class Nested(nn.Module):
    def forward(self, x):
        y = torch.zeros_like(x[0])
        for i in range(x.size(0)):
            for j in range(i + 1):
                y = y + torch.tanh(x[i] * x[j])
        return y


class Lists(nn.Module):
    """Lists that are inserted into, popped from, split, read from both ends, and joined."""

    def forward(self, x):
        parts: List[torch.Tensor] = []
        for part in torch.split(x, 2, 0):
            parts.insert(0, part * 2.0)
        last = parts.pop()
        parts.append(last + parts[0].sum())
        return torch.cat(parts, 0), torch.tensor(len(parts)), parts[-1]


class Scans(nn.Module):
    def forward(self, x, h):
        def step(h, v):
            h = torch.tanh(h * 0.5 + v)
            return h, h * 2.0
        return torch._higher_order_ops.scan(step, h, x)


class Whiles(nn.Module):
    def forward(self, x, n):
        return torch._higher_order_ops.while_loop(lambda n, x: n.sum() > 0, lambda n, x: (n - 1, x * 0.5 + 1.0), (n, x))


HEAD = '<ir_version: 8, opset_import: ["": 18]>\n'
BY_HAND = {
    "scan_axes": HEAD + """g (float[N,T,3] x, float[N,3] h) => (float[N,3] last, float[N,T,3] rows, float[T,N,3] turned) {
        last, rows, turned = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
            scan_output_axes = [1, -3], scan_output_directions = [1, 0],
            body = b (float[N,3] s, float[N,3] v) => (float[N,3] next, float[N,3] row, float[N,3] again) {
                p = Mul (s, v) next = Add (p, v) row = Tanh (next) again = Identity (v) }> (h, x) }""",
    "scan_two": HEAD + """g (float[T,2] x, float[2,T] y) => (float[T,2] rows) {
        rows = Scan <num_scan_inputs = 2, scan_input_axes = [0, -1],
            body = b (float[2] u, float[2] v) => (float[2] w) { w = Sub (u, v) }> (x, y) }""",
    "lists": HEAD + """g (float[N,M] x, int64 at) => (float[A,M] joined, float[K,N,B] stacked, int64 n, float[C,M] chosen) {
        one = Constant <value_int = 1> () ends = Shape <start = 0, end = 1> (x) two = Constant <value_int = 2> ()
        rest = Sub (ends, one) sizes = Concat <axis = 0> (oneD, rest)
        oneD = Identity (onev)
        s = SplitToSequence <axis = 0> (x, sizes)
        joined = ConcatFromSequence <axis = 0> (s)
        cols = SplitToSequence <axis = 1, keepdims = 1> (x)
        few = SequenceErase (cols, at)
        again = SequenceInsert (few, col, at)
        stacked = ConcatFromSequence <axis = 0, new_axis = 1> (again)
        n = SequenceLength (few)
        chosen = SequenceAt (s, minus)
        col = SequenceAt (cols, minus)
        minus = Constant <value_int = -1> () onev = Constant <value_ints = [1]> () }""",
    "map": HEAD + """g (float[N,M] x, float[M] w) => (float[A,M] y, int64[K,1] sizes) {
        parts = Constant <value_int = 2> ()
        s = SplitToSequence <axis = 0> (x, parts)
        t, z = SequenceMap <body = b (float[n,M] p, float[M] v) => (float[n,M] q, int64[1] r) {
            q = Mul (p, v) r = Shape <start = 0, end = 1> (p) }> (s, w)
        y = ConcatFromSequence <axis = 0> (t)
        sizes = ConcatFromSequence <axis = 0, new_axis = 1> (z) }""",
    "optional": HEAD + """g (float[N] x) => (float[N] y, bool has) {
        o = Optional (x) has = OptionalHasElement (o) z = OptionalGetElement (o) y = Neg (z) }""",
    "unique_axis": HEAD + """g (float[N,M] x) => (float[N,K] y, int64[K] first, int64[M] inverse, int64[K] counts) {
        y, first, inverse, counts = Unique <axis = -1> (x) }""",
    "unique_order": HEAD + """g (int64[N] x) => (int64[K] y, int64[K] first, int64[N] inverse, int64[K] counts) {
        y, first, inverse, counts = Unique <sorted = 0> (x) }""",
    "einsum_dots": HEAD + """g (float[A,B,I,K] x, float[1,B,K,J] y) => (float[A,B,J,I] z) {
        z = Einsum <equation = "...ik,...kj->...ji"> (x, y) }""",
    "einsum_three": HEAD + """g (float[N,I] x, float[I,J] y, float[N,J] z) => (float[N] q, float[I] d) {
        q = Einsum <equation = "ni, ij, nj -> n"> (x, y, z) square = Einsum <equation = "ij,kj"> (y, y)
        d = Einsum <equation = "ii->i"> (square) }""",
    "loop_rows": HEAD + """g (int64 n, float[M] x) => (float[M] y, float[K,M] rows, int64[K] trips) {
        y, rows, trips = Loop <body = b (int64 i, bool go, float[M] v) => (bool on, float[M] w, float[M] row, int64 trip) {
            f = Cast <to = 1> (i) w = Add (v, f) s = ReduceSum <keepdims = 0> (w) lim = Constant <value_float = 50.0> ()
            on = Less (s, lim) row = Identity (v) trip = Identity (i) }> (n, , x) }""",
}
F = np.float32


def r(rng, *dims):
    return rng.standard_normal(dims).astype(F)


CASES = {
    "cells": (Cells, "ts", lambda g, k: {"x": r(g, 2 + 3 * k, 1 + k, 4)}, {"x": {0: "T", 1: "B"}}),
    "until": (Until, "ts", lambda g, k: {"x": r(g, 2 + k, 3) * F(0.01 if k == 2 else 4)}, {"x": {0: "N"}}),
    "nested": (Nested, "ts", lambda g, k: {"x": r(g, 1 + 2 * k, 3)}, {"x": {0: "N"}}),
    "pylists": (Lists, "ts", lambda g, k: {"x": r(g, 5 + k, 2)}, {"x": {0: "N"}}),
    "scan": (Scans, "dyn", lambda g, k: {"x": r(g, 3 + k, 4), "h": r(g, 4)}, {"x": {0: "T"}, "h": {}}),
    "while": (Whiles, "dyn", lambda g, k: {"x": r(g, 2 + k, 3), "n": np.array([3 * k], np.int64)}, {"x": {0: "N"}, "n": {}}),
    "scan_axes": (None, "", lambda g, k: {"x": r(g, 2 + k, 4 + k, 3), "h": r(g, 2 + k, 3)}, {}),
    "scan_two": (None, "", lambda g, k: {"x": r(g, 1 + 2 * k, 2), "y": r(g, 2, 1 + 2 * k)}, {}),
    "lists": (None, "", lambda g, k: {"x": r(g, 3 + k, 4), "at": np.array(k - 1, np.int64)}, {}),
    "map": (None, "", lambda g, k: {"x": r(g, 3 + k, 2), "w": r(g, 2)}, {}),
    "optional": (None, "", lambda g, k: {"x": r(g, 1 + k)}, {}),
    "unique_axis": (None, "", lambda g, k: {"x": g.integers(0, 2, (2, 6 + k)).astype(F)}, {}),
    "unique_order": (None, "", lambda g, k: {"x": g.integers(-3, 3, 9 * k + 1)}, {}),
    "einsum_dots": (None, "", lambda g, k: {"x": r(g, 2, 1 + k, 3, 4 + k), "y": r(g, 1, 1 + k, 4 + k, 2)}, {}),
    "einsum_three": (None, "", lambda g, k: {"x": r(g, 2 + k, 3), "y": r(g, 3, 4), "z": r(g, 2 + k, 4)}, {}),
    "loop_rows": (None, "", lambda g, k: {"n": np.array([4, 30, 1][k], np.int64), "x": r(g, 2 + k)}, {}),
}


def topological(model):
    """The text form lets nodes stand in any order; files do not."""
    have = {i.name for i in model.graph.input}
    left, done = list(model.graph.node), []
    while left:
        for n in left:
            if all(i == "" or i in have for i in n.input):
                break
        left.remove(n)
        done.append(n)
        have |= set(n.output)
    del model.graph.node[:]
    model.graph.node.extend(done)
    return model


def make(name, way, example, axes, path):
    net = CASES[name][0]
    args = tuple(torch.from_numpy(v) for v in example.values())
    if net is None:
        onnx.save(topological(parser.parse_model(BY_HAND[name])), path)
    elif way == "ts":
        torch.onnx.export(torch.jit.script(net().eval()), args, path, dynamo=False, opset_version=17,
                          input_names=list(example), dynamic_axes={k: v for k, v in axes.items() if v})
    else:
        shapes = tuple({a: torch.export.Dim.DYNAMIC for a in axes[k]} for k in example)
        program = torch.onnx.export(net().eval(), args, dynamo=True, opset_version=18, input_names=list(example),
                                    dynamic_shapes=shapes, verbose=False)
        onnx.save(strip(program.model_proto), path)


def main():
    root, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for name, (_, way, draw, axes) in CASES.items():
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        folder = root / f"control_{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            make(name, way, draw(rng, 1), axes, str(folder / "model.onnx"))
            session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
            outs = [o.name for o in session.get_outputs()]
            for k in range(3):
                case = draw(rng, k)
                ran = session.run(None, case)
                (folder / f"test_data_set_{k}").mkdir()
                for kind, pairs in (("input", case.items()), ("output", zip(outs, ran))):
                    for i, (n, v) in enumerate(pairs):
                        data = numpy_helper.from_array(np.ascontiguousarray(v).reshape(np.shape(v)), n).SerializeToString()
                        (folder / f"test_data_set_{k}" / f"{kind}_{i}.pb").write_bytes(data)
        except Exception as e:
            shutil.rmtree(folder)
            print(f"{folder.name}: no file: {str(e).strip().splitlines()[0][:160]}", flush=True)
            continue
        print(folder.name, flush=True)


main()

"""layer_peers.py - one recurrent network in each of the runtimes that peers_kernels.py compares. A contestant has
`prepare(batch, steps)` and `run(n)`, which gives the seconds that n runs took, by the clock and of CPU time."""

import subprocess
import time

import numpy as np
import onnx
import onnxruntime
import programs
import torch

GATES = {"LSTM": 4, "GRU": 3}


class Layers(torch.nn.Module):
    """x [time, batch, hidden] and the first states -> y and the last states, as a server runs it."""

    def __init__(self, kind, layers, hidden):
        super().__init__()
        torch.manual_seed(hidden)
        self.kind = kind
        self.net = getattr(torch.nn, kind)(hidden, hidden, layers)

    def forward(self, x, h0, c0=None):
        if self.kind == "GRU":
            return self.net(x, h0)
        y, (h, c) = self.net(x, (h0, c0))
        return y, h, c


class Model:
    def __init__(self, kind, layers, hidden):
        self.kind, self.layers, self.hidden = kind, layers, hidden
        self.names = ["x", "h0", "c0"] if kind == "LSTM" else ["x", "h0"]
        self.module = Layers(kind, layers, hidden).eval()
        self.folder = programs.OUT / "peers-kernels"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / f"{kind}-{layers}x{hidden}.onnx"
        if not self.path.exists():
            self._export()

    def _export(self):
        outputs = ["y", "hn", "cn"][:len(self.names)]
        axes = {"x": {0: "time", 1: "batch"}, "y": {0: "time", 1: "batch"}}
        axes.update({n: {1: "batch"} for n in self.names[1:] + outputs[1:]})
        torch.onnx.export(self.module, tuple(self.inputs(3, 2)), str(self.path), dynamo=False, opset_version=17,
                          input_names=self.names, output_names=outputs, dynamic_axes=axes)
        onnx.checker.check_model(onnx.load(str(self.path)))

    def inputs(self, batch, steps):
        rng = torch.Generator().manual_seed(batch * 1000 + steps)
        shapes = [(steps, batch, self.hidden)] + [(self.layers, batch, self.hidden)] * (len(self.names) - 1)
        return [2 * torch.rand(s, generator=rng) - 1 for s in shapes]

    def matrix_bytes(self):
        """of one W or R: all have this size, since inputs and states have the same width"""
        return 4 * GATES[self.kind] * self.hidden * self.hidden

    def flops(self, batch, steps):
        return 2 * 2 * self.layers * (self.matrix_bytes() // 4) * batch * steps


def timed(f, n):
    """seconds, and seconds of CPU time"""
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(n):
        f()
    return time.perf_counter() - start, time.process_time() - cpu


class Recurd:
    def __init__(self, model, threads):
        self.model = model
        self.process = subprocess.Popen([programs.RIG / "layer_run", model.path, str(threads)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "ready\n"

    def _ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def prepare(self, batch, steps):
        self._ask(f"size {batch} {steps}")
        for i, value in enumerate(self.model.inputs(batch, steps)):
            path = self.model.folder / "input.f32"
            value.numpy().tofile(path)
            self._ask(f"feed {i} {path}")

    def answer(self):
        path = self.model.folder / "y.f32"
        self._ask(f"save {path}")
        return np.fromfile(path, np.float32)

    def run(self, n):
        return tuple(float(ms) / 1e3 for ms in self._ask(f"run {n}").split())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class OnnxRuntime:
    """Inputs and outputs bound beforehand, so that Python costs it little."""

    def __init__(self, model, threads):
        self.model = model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])

    def prepare(self, batch, steps):
        self.binding = self.session.io_binding()
        self.values = [onnxruntime.OrtValue.ortvalue_from_numpy(v.numpy())
                       for v in self.model.inputs(batch, steps)]
        for name, value in zip(self.model.names, self.values):
            self.binding.bind_ortvalue_input(name, value)
        for output in self.session.get_outputs():
            self.binding.bind_output(output.name)

    def run(self, n):
        return timed(lambda: self.session.run_with_iobinding(self.binding), n)

    def close(self):
        self.session = None


class Torch:
    def __init__(self, model, threads):
        self.model = model
        torch.set_num_threads(threads)

    def prepare(self, batch, steps):
        self.values = self.model.inputs(batch, steps)

    def answer(self):
        with torch.inference_mode():
            return self.model.module(*self.values)[0].numpy().ravel()

    def run(self, n):
        with torch.inference_mode():
            return timed(lambda: self.model.module(*self.values), n)

    def close(self):
        pass


class TorchFrozen(Torch):
    """Traced, frozen, optimised for inference."""

    def prepare(self, batch, steps):
        super().prepare(batch, steps)
        with torch.inference_mode():
            traced = torch.jit.trace(self.model.module, tuple(self.values), check_trace=False)
            self.frozen = torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def run(self, n):
        with torch.inference_mode():
            return timed(lambda: self.frozen(*self.values), n)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class OpenBlas:
    """The plain loop: numpy over OpenBLAS, the inputs of all steps in one product."""

    def __init__(self, model, threads):
        self.model = model  # threads: by the environment
        net = model.module.net
        self.weights = [[getattr(net, f"{n}_l{i}").detach().numpy() for n in
                         ("weight_ih", "weight_hh", "bias_ih", "bias_hh")] for i in range(model.layers)]
        for w in self.weights:
            w[:2] = [np.ascontiguousarray(m.T) for m in w[:2]]

    def prepare(self, batch, steps):
        self.values = [v.numpy() for v in self.model.inputs(batch, steps)]

    def _lstm(self, x, h, c, w, r, bw, br):
        pre, out = x @ w + (bw + br), np.empty_like(x)
        for t in range(len(x)):
            i, f, g, o = np.split(pre[t] + h @ r, 4, 1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = out[t] = sigmoid(o) * np.tanh(c)
        return out

    def _gru(self, x, h, w, r, bw, br):
        pre, out = x @ w + bw, np.empty_like(x)
        for t in range(len(x)):
            (pr, pz, pn), (hr, hz, hn) = np.split(pre[t], 3, 1), np.split(h @ r + br, 3, 1)
            z = sigmoid(pz + hz)
            h = out[t] = (1 - z) * np.tanh(pn + sigmoid(pr + hr) * hn) + z * h
        return out

    def _once(self):
        x = self.values[0]
        for i, w in enumerate(self.weights):
            states = [v[i] for v in self.values[1:]]
            x = self._lstm(x, *states, *w) if self.model.kind == "LSTM" else self._gru(x, *states, *w)
        return x

    def answer(self):
        return self._once().ravel()

    def run(self, n):
        return timed(self._once, n)

    def close(self):
        pass


class Limits:
    """The machine's own limits, measured whenever they are asked for."""

    def __init__(self):
        self.process = subprocess.Popen([programs.RIG / "limits"], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def _ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return 1e9 * float(self.process.stdout.readline())

    def flops(self):
        return self._ask("fma")

    def read(self, n_bytes):
        return self._ask(f"read {n_bytes}")

    def close(self):
        self.process.stdin.close()
        self.process.wait()

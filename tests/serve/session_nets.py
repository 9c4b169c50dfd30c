"""session_nets.py - networks with states that the session tests step, repositories of them, and what their answers
must be: those of one request that has the whole sequence."""

import json
import math
import mmap
import os
import pathlib
import random
import shutil
import signal
import struct
import tempfile
import threading
import time

import daemon
import golden
from session_client import Client, Refused, Tensor

SIZES = {"FP32": 4, "INT64": 8}
# taken out of the environment: the daemon refuses RECURD_ names that are no options
SETTINGS = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("RECURD_TEST_")}
RNG = random.Random(30)  # of what `continues` sends


def setting(name, otherwise):
    """The number that RECURD_TEST_name of the environment gives."""
    return type(otherwise)(SETTINGS.get("RECURD_TEST_" + name, otherwise))


def seed():
    """The same in each run, so that a run that fails can be had again; RECURD_TEST_SEED=0 looks for new ones."""
    return setting("SEED", 20261127) or random.SystemRandom().randrange(1, 2**31)


class Net:
    """A network whose output has one entry per time step. A time step is its bytes."""

    def __init__(self, folder, name, datatype, shape, output, out_bytes, states):
        self.folder, self.input, self.datatype, self.shape = folder, name, datatype, shape
        self.output, self.out_bytes, self.states = output, out_bytes, states
        self.step_bytes = math.prod(shape) * SIZES[datatype]

    def steps(self, rng, n):
        """n time steps of random input."""
        if self.datatype == "INT64":
            return [struct.pack("<q", rng.randrange(40)) for _ in range(n)]
        return [struct.pack(f"<{math.prod(self.shape)}f", *(rng.uniform(-2, 2) for _ in range(math.prod(self.shape))))
                for _ in range(n)]

    def inputs(self, steps, states=None):
        """Inputs of a request: these time steps, after these states."""
        return {self.input: Tensor(self.datatype, (1, len(steps), *self.shape), b"".join(steps)), **(states or {})}

    def whole(self, client, steps, states=None, version=None):
        """The run of all time steps in one request without a session: (bytes per time step, last states by the
        names of the inputs)."""
        a = client.infer(self.inputs(steps, states), [self.output, *self.states.values()], version)
        return (self.split(a[self.output]),
                {i: a.outputs[o] for i, o in self.states.items()})

    def split(self, raw):
        assert len(raw) % self.out_bytes == 0
        return [raw[at:at + self.out_bytes] for at in range(0, len(raw), self.out_bytes)]

    def random_states(self, rng):
        return {n: Tensor("FP32", s, struct.pack(f"<{math.prod(s)}f", *(rng.uniform(-1, 1) for _ in range(math.prod(s)))))
                for n, s in self.shapes.items()}

    @property
    def shapes(self):
        return STATE_SHAPES[self.folder.name]


STATE_SHAPES = {"lstm_init_ts18": {"h0": (1, 1, 6), "c0": (1, 1, 6)}, "gru_4l_init_old17": {"h0": (4, 1, 6)},
                "char-lstm": {"h0": (2, 1, 320), "c0": (2, 1, 320)}}
LSTM = Net(golden.NETS / "lstm_init_ts18", "x", "FP32", (4,), "y", 24, {"h0": "hn", "c0": "cn"})
GRU = Net(golden.NETS / "gru_4l_init_old17", "x", "FP32", (4,), "y", 24, {"h0": "hn"})
CHAR = Net(golden.ROOT / "models" / "char-lstm", "tokens", "INT64", (), "logits", 260, {"h0": "hn", "c0": "cn"})


class Models(daemon.Repository):
    """A repository of such networks, by name: Models(lstm=(LSTM, {"idle_timeout_s": 1}))."""

    def __init__(self, **models):
        super().__init__()
        for name, (net, sessions) in models.items():
            self.put(name, net, sessions)

    def put(self, name, net, sessions=None, change=None, version=1, **more):
        """`change`: a function of the ONNX file's bytes."""
        folder = self.path / name / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        source = net.folder / "model.onnx"
        data = (source if source.exists() else net.folder / "1" / "model.onnx").read_bytes()
        (folder / "model.onnx").write_bytes(change(data) if change else data)
        config = {"state": [{"input": i, "output": o} for i, o in net.states.items()],
                  "time": {net.input: 1, net.output: 1}, **more}
        if sessions:
            config["sessions"] = sessions
        (self.path / name / "model.json").write_text(json.dumps(config))


def other_weights(data):
    """The same network with one tensor of weights negated."""
    graph = next(v for k, v in golden._fields(data) if k == 7)
    raw = max((v for k, w in golden._fields(graph) if k == 5 for k2, v in golden._fields(w) if k2 == 9), key=len)
    values = struct.unpack(f"<{len(raw) // 4}f", raw)
    assert data.count(raw) == 1
    return data.replace(raw, struct.pack(f"<{len(values)}f", *(-v for v in values)))


class Places:
    """Where sessions are kept: a state directory, and with `runtime` a folder in memory beside it."""

    def __init__(self, runtime=False):
        self.state = pathlib.Path(tempfile.mkdtemp(prefix="recurd-state-"))
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.runtime = pathlib.Path(tempfile.mkdtemp(prefix="recurd-runtime-", dir=memory)) if runtime else None
        self.options = ["--state-dir", str(self.state)] + (["--state-runtime-dir", str(self.runtime)] if runtime else [])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for folder in (self.state, self.runtime):
            if folder:
                shutil.rmtree(folder)

    @staticmethod
    def files(folder):
        """Of `process`, that would be served."""
        return sorted(p.name for p in folder.rglob("*.sessions"))


def serve(models, *options, env=None):
    """A daemon that is ready; one that refuses a model fails at once, in its own words."""
    d = daemon.Daemon(models, *options, env=env, wait=False)
    try:
        ready = daemon.until(lambda: d.is_ready() or "was not loaded" in d.logged(), daemon.START_S)
        assert ready and d.is_ready(), f"not ready; its log:\n{d.logged()}"
        return d
    except BaseException:
        d.stop(signal.SIGKILL)
        raise


def transactions(folder):
    """How often LMDB wrote to the one store of sessions in this folder: the larger number of its two first pages."""
    data = next(pathlib.Path(folder).rglob("*.sessions.lmdb")).open("rb").read(2 * mmap.PAGESIZE)
    return max(struct.unpack_from("<Q", data, at + 144)[0] for at in (0, mmap.PAGESIZE))


def await_snapshot(folder, c, net):
    """A snapshot (of `durable` = snapshot) has begun and ended since this was called: the second one that ends. A session of
    its own is stepped meanwhile, because what has not changed is not written again."""
    before, x = transactions(folder), net.inputs(net.steps(RNG, 1))

    def step():
        c.step("marker", x, start=True)
        return transactions(folder) >= before + 2

    assert daemon.until(step, 60), f"{transactions(folder) - before} snapshots"


def await_spilled(c, least):
    """The ids of so many sessions, or more, that are on the disk alone."""
    def there():
        return [s["id"] for s in c.list(limit=1000, status="spilled")["sessions"]]

    assert daemon.until(lambda: len(there()) >= least), len(there())
    return there()


class Serving:
    """One model `m` of a network, a daemon over it, a client of it."""

    def __init__(self, net=LSTM, sessions=None, *options):
        self.net, self.models = net, Models(m=(net, sessions))
        try:
            self.d = serve(self.models, *options)
        except BaseException:
            self.models.__exit__()
            raise
        self.c = Client(self.d.port, "m")

    def __enter__(self):
        return self.d, self.c

    def __exit__(self, *error):
        self.c.connection.close()
        try:
            self.d.__exit__(*error)
        finally:
            self.models.__exit__()


def run(c, name, steps, net=LSTM, **more):
    return net.split(c.step(name, net.inputs(steps), **more)[net.output])


def continues(c, name, before, net=LSTM, states=None):
    """The session goes on as one that has seen `before` (after `states`)."""
    more = net.steps(RNG, 2)
    want = net.whole(c, before + more, states)[0][len(before):]
    assert run(c, name, more, net) == want


class Waiting(threading.Thread):
    """A step on a connection of its own; its answer or refusal."""

    def __init__(self, d, net, name, steps, **more):
        super().__init__()
        self.client, self.answer, self.error = Client(d.port, "m"), None, None
        self.call = lambda: self.client.step(name, net.inputs(steps), **more)
        self.start()

    def run(self):
        try:
            self.answer = self.call()
        except Refused as e:
            self.error = e
        finally:
            self.client.connection.close()


def steps_for(c, net, seconds):
    """So many time steps that a request of them takes at least about so long: a few are measured, and the quickest counts,
    because other work on the machine makes them slower, never quicker."""
    steps, took = net.steps(RNG, 256), []
    for _ in range(4):
        start = time.monotonic()
        net.whole(c, steps)
        took.append(time.monotonic() - start)
    return (steps * 240)[:int(len(steps) * seconds / max(0.001, min(took))) + 1]


def busy(d, c, name, seconds=1):
    """The session (of CHAR) is at a request that takes about so long."""
    thread = Waiting(d, CHAR, name, steps_for(c, CHAR, seconds))
    assert daemon.until(lambda: c.describe(name)["status"] == "busy"), c.describe(name)
    return thread

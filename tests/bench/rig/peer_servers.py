"""peer_servers.py - the peers as processes: what they need is installed into environments of their own (build/peers), what
cannot be had on this machine is left out, and said."""

import os
import pathlib
import subprocess
import sys
import time

import programs

PEERS = pathlib.Path(__file__).resolve().parent.parent / "peers"
HOME = programs.ROOT / "build" / "peers"
INSTALL_S = 900


class Peer(programs.Process):
    """A peer on a free port, once it answers `ready`: "/" with anything at all, another path with 200."""

    def __init__(self, name, command, binary=True, rename=(), ready="/", seconds=90, **how):
        self.name, self.binary, self.rename, self.ready = name, binary, rename, ready
        self.port = programs.free_port()
        super().__init__(name.replace(" ", "-"), [str(c).replace("PORT", str(self.port)) for c in command],
                         stdout=subprocess.DEVNULL, **how)
        end = time.monotonic() + seconds
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise OSError(f"{name} does not start; its log: build/bench/{name.replace(' ', '-')}.log")
            time.sleep(0.2)

    def _answers(self):
        try:
            status = self.call("GET", self.ready)[0]
            return self.ready == "/" or status == 200
        except OSError:
            return False


def _install(what, command, **how):
    programs.say(f"installing {what}")
    log = HOME / f"{what}.log"
    with open(log, "wb") as f:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=f, stderr=f, timeout=INSTALL_S, check=False, **how)
    if done.returncode != 0:
        raise OSError(f"{what} cannot be installed; see {log.relative_to(programs.ROOT)}")


def python(name, *modules):
    """The interpreter of an environment with these modules; one environment a peer, for their wishes collide."""
    at = HOME / name
    stamp = at / "installed"
    if not stamp.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(at)], check=True)
        _install(name, [at / "bin" / "pip", "install", "-q", "--disable-pip-version-check", *modules])
        stamp.write_text(" ".join(modules) + "\n")
    return at / "bin" / "python"


def node_modules(*modules):
    at = HOME / "node"
    if not (at / "installed").exists():
        at.mkdir(parents=True, exist_ok=True)
        (at / "package.json").write_text('{"private": true}\n')
        _install("npm", ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *modules], cwd=at)
        (at / "installed").write_text(" ".join(modules) + "\n")
    return at / "node_modules"


def start(makers):
    """The peers that makers start; without those that cannot be had, with a word."""
    peers = []
    for make in makers:
        try:
            peers.append(make())
        except (OSError, subprocess.SubprocessError) as e:
            programs.say(f"left out: {e}")
    return peers


WEB = ("fastapi", "uvicorn[standard]", "aiohttp", "onnxruntime", "onnx", "numpy", "orjson")


def own_servers(model, threads):
    """What people write themselves, in Python."""
    return [
        lambda: Peer("FastAPI and PyTorch", [python("torch", *WEB, "torch==2.13.0"), PEERS / "fastapi_torch.py", "PORT",
                                             model, threads]),
        lambda: Peer("FastAPI and ONNX Runtime, micro-batching",
                     [python("web", *WEB), PEERS / "fastapi_ort.py", "PORT", model, threads]),
        lambda: Peer("aiohttp and ONNX Runtime, micro-batching",
                     [python("web", *WEB), PEERS / "aiohttp_ort.py", "PORT", model, threads]),
    ]


def serving(model, threads=1):
    """All peers that serve session steps of the LSTM in `model`."""
    return start([
        *own_servers(model, threads),
        lambda: Peer("fastify and onnxruntime-node, micro-batching",
                     ["node", PEERS / "fastify_ort.js", "PORT", model, threads],
                     env={**os.environ, "NODE_PATH": str(node_modules("fastify@4", "onnxruntime-node"))}),
        lambda: Peer("MLServer", [python("mlserver", "mlserver", "onnxruntime", "numpy", "orjson"), PEERS / "mlserver_run.py",
                                  "PORT", model, threads], binary=False),
        lambda: Peer("BentoML", [python("bentoml", "bentoml", "onnxruntime", "numpy", "orjson"), PEERS / "bentoml_run.py",
                                 "PORT", model, threads]),
        lambda: Peer("Ray Serve", [python("ray", "ray[serve]", "onnxruntime", "numpy", "orjson"), PEERS / "ray_run.py",
                                   "PORT", model, threads]),
        lambda: Peer("Triton (pytriton)", [python("pytriton", "nvidia-pytriton", "onnxruntime", "numpy", "orjson"),
                                           PEERS / "pytriton_run.py", "PORT", model, threads],
                     ready="/v2/models/lstm/ready",
                     rename=((b'"sequence_id"', b'"session_key"'), (b'"sequence_start"', b'"session_starts"'))),
    ])


def draw_bars(table, path):
    """Rates of all contestants, a panel a form, groups of connections; logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(table), figsize=(7 * len(table), 5), layout="constrained", sharey=True,
                                   squeeze=False)
    names = list(next(iter(next(iter(table.values())).values())))
    for panel, (form, cells) in zip(axes[0], table.items()):
        for i, name in enumerate(names):
            x = [j + (i - len(names) / 2) * 0.8 / len(names) for j, cell in enumerate(cells.values()) if name in cell]
            panel.bar(x, [cell[name]["per_s"] for cell in cells.values() if name in cell], 0.8 / len(names), label=name,
                      align="edge")
        panel.set_yscale("log")
        panel.set_xticks(range(len(cells)), [f"{n}" for n in cells])
        panel.set_xlabel("connections")
        panel.set_title(f"session steps per second, {form}")
        panel.grid(axis="y", alpha=0.3)
    axes[0][0].set_ylabel("steps/s")
    axes[0][-1].legend(fontsize=7)
    figure.savefig(path, dpi=90)

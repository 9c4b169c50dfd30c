"""start.py - from exec to ready (READY=1 to the service manager: every model loaded and warm) with all bundled models,
and the resident memory of an idle daemon with one model of 5 MB."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "rig"))
import networks  # noqa: E402
import programs  # noqa: E402
import workload  # noqa: E402

ROUNDS = 21
FIVE_MB = networks.Network("LSTM", 64, 512, 32)


def until_ready(models):
    """Milliseconds from the exec; the process is ended."""
    at = programs.OUT / "start.sock"
    at.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(at))
        manager.settimeout(30)
        command = [programs.BUILD / "recurd", "--models", models, "--listen", "127.0.0.1:0"]
        begin = time.monotonic()
        process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env=os.environ | {"NOTIFY_SOCKET": str(at)})
        try:
            while b"READY=1" not in manager.recv(4096):
                pass
            return 1e3 * (time.monotonic() - begin)
        finally:
            process.terminate()
            process.wait(20)


def idle_memory():
    """(bytes of the file, resident bytes when ready, and after 1000 steps of eight sessions)"""
    models = programs.folder("start-models")
    networks.put(models, "lstm", FIVE_MB)
    size = (models / "lstm" / "1" / "model.onnx").stat().st_size
    steps = workload.write(programs.OUT / "start.load", workload.Class(
        "step", 1, [(1, workload.infer("lstm", FIVE_MB, 1, 0, session=True))], 8))
    with programs.Recurd("start", models) as recurd:
        time.sleep(0.3)
        ready = recurd.memory()
        programs.load(recurd, steps, "--connections", 8, "--bound", "--seconds", 0.5, "--warm", 0.1)
        time.sleep(0.3)
        return size, ready, recurd.memory()


def main():
    programs.OUT.mkdir(parents=True, exist_ok=True)
    bundled = programs.ROOT / "models"
    ms = sorted(until_ready(bundled) for _ in range(ROUNDS))
    size, ready, used = idle_memory()
    table = {"models": len(list(bundled.glob("*/1/model.onnx"))), "ready_ms": programs.median(ms),
             "ready_ms_least": ms[0], "file": size, "resident": ready, "resident_used": used}
    print(f"exec to ready with {table['models']} bundled models: {table['ready_ms']:.1f} ms "
          f"(median of {ROUNDS}; least {ms[0]:.1f}, most {ms[-1]:.1f})")
    print(f"resident, idle, one model of {size / 1e6:.1f} MB: {ready / 1e6:.1f} MB; after steps of eight sessions: "
          f"{used / 1e6:.1f} MB")
    (programs.OUT / "start.json").write_text(json.dumps(table, indent=2) + "\n")


main()

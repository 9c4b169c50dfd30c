"""Triton's load generator, the C++ client, driven to its end.

The wheel named perf-analyzer on PyPI is an empty placeholder. The program itself comes inside older
tritonclient wheels; it wants libb64.so.0d (Debian: libb64-0d) and libcudart.so.12 (a wheel of its own),
though no GPU. They are fetched once into `folder`; without them the checks are skipped.
"""

import csv
import json
import glob
import os
import subprocess
import sys
import zipfile


from checks import Skipped, expect

WHEELS = ["tritonclient==2.50.0", "nvidia-cuda-runtime-cu12==12.9.79"]
# a few short windows, of which it takes what it gets: this is about the protocol, not about speed. It ends with status 2
# where windows differ by more than this, as they do by a lot while the machine has other work.
WINDOWS = ["--measurement-interval", "500", "--max-trials", "10", "--stability-percentage", "100000"]
SECONDS = 120
WANTED = ("bin/perf_analyzer", "/libcudart.so.12")


def run(report, site, folder):
    report.run("perf_analyzer.stateless", drive, site, folder, "lstm_ts20", ["--shape", "x:2,12,6"])
    report.run("perf_analyzer.json", drive, site, folder, "gru_ts18",
               ["--shape", "x:1,9,6", "--input-tensor-format", "json", "--output-tensor-format", "json"])
    report.run("perf_analyzer.tokens", drive, site, folder, "char_model_ts17", ["--shape", "tokens:1,16", "--input-data", "zero"])
    report.run("perf_analyzer.sequences", drive_sequences, site, folder)


def program(folder):
    path = os.path.join(folder, "perf_analyzer")
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        try:
            subprocess.run([sys.executable, "-m", "pip", "-q", "download", "--no-deps", "-d", folder, *WHEELS], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Skipped("its wheel cannot be fetched here in time") from error
        for wheel in glob.glob(os.path.join(folder, "*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if name.endswith(WANTED):
                        with open(os.path.join(folder, os.path.basename(name)), "wb") as file:
                            file.write(archive.read(name))
            os.remove(wheel)
    if not os.path.exists(path):
        raise Skipped("its wheel cannot be fetched here")
    os.chmod(path, 0o755)
    environment = {**os.environ, "LD_LIBRARY_PATH": folder}
    tried = subprocess.run([path, "--version"], env=environment, capture_output=True, text=True, timeout=SECONDS)
    if tried.returncode:
        raise Skipped(f"it does not run here: {(tried.stdout + tried.stderr).strip()[-160:]}")
    return path, environment


def drive_sequences(site, folder):
    """Start and end flags and integer ids, as the C++ client sends them. With synchronous calls: otherwise it ends a
    sequence, when its time is over, beside the request of that sequence that is under way, on another connection."""
    steps = os.path.join(site.scratch, "steps.json")
    with open(steps, "w") as file:  # states are inputs that may be left out: what data does not name is not sent
        json.dump({"data": [[{"x": {"content": [1.0, 2.0], "shape": [1, 2]}} for _ in range(6)]]}, file)
    drive(site, folder, "running_sum", ["--sync", "--input-data", steps, "--shape", "x:1,2", "--shape", "held:1,2"])


def drive(site, folder, model, options):
    path, environment = program(os.path.abspath(folder))
    table = os.path.join(site.scratch, f"perf_{model}.csv")
    done = subprocess.run([path, "-m", model, "-u", site.url, "-i", "http", "--concurrency-range", "4", *WINDOWS, "-f", table, *options],
                          env=environment, capture_output=True, text=True, timeout=SECONDS, cwd=site.scratch)
    expect(done.returncode == 0, f"status {done.returncode}: {(done.stdout + done.stderr)[-300:]}")
    expect("error" not in done.stderr.lower(), done.stderr[-300:])
    with open(table) as file:
        rows = list(csv.DictReader(file))
    expect(rows and float(rows[0]["Inferences/Second"]) > 0, "no inferences in its table")
    print(f"perf_analyzer {model}: {rows[0]['Inferences/Second']} inferences/s", flush=True)

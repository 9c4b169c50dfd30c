"""Makes the golden networks: exports every row of the table, then asks ONNX Runtime for the outputs.

usage: make.py                              writes ../nets from the table (two runs give the same files)
       make.py --random N --seed S --out D  N other networks, not in the table, into folder D
       make.py --more --out D               also the exports of the table that are not kept in the tree
       make.py --only NAME...               rows with these names

Run it with build/venv/bin/python (torch 2.13). Rows for torch 1.13 are exported by /usr/bin/python3,
where Debian's python3-torch and python3-onnx must be installed.
"""

import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile

import expect
import index
from rows_of import rows_of

HERE = os.path.dirname(os.path.abspath(__file__))
NETS = os.path.join(os.path.dirname(HERE), "nets")
OLD_PYTHON = "/usr/bin/python3"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", default=NETS)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--random", type=int, default=0, metavar="N")
    options.add_argument("--only", nargs="*")
    options.add_argument("--more", action="store_true")
    options = options.parse_args()
    table = f"random:{options.random}:{options.seed}" if options.random else "table"
    rows = [r for r in rows_of(table) if not options.only or r.name in options.only]
    jobs = [(r, exporter, opset) for r in rows for exporter, opset in r.jobs(options.more)]
    with tempfile.TemporaryDirectory() as folder:
        export_all(jobs, table, options.seed, folder)
        written, refused = write_all(jobs, options.seed, folder, options.out)
    index.write(options.out, written, refused, table)
    print(f"{len(written)} networks written, {len(refused)} refused")
    for name, reason in refused:
        print(f"refused {name}: {reason}")


def export_all(jobs, table, seed, folder):
    jobs = [f"{r.name}:{exporter}:{opset}" for r, exporter, opset in jobs]
    old = [j for j in jobs if j.split(":")[1].startswith("old")]
    new = [j for j in jobs if j not in old]
    running = [subprocess.Popen([python, "-B", os.path.join(HERE, "export.py"), table, str(seed), folder, *part],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for python, part in ((OLD_PYTHON, old), (sys.executable, new)) if part]
    for process in running:
        process.wait()


def write_all(jobs, seed, folder, out):
    for stale in glob.glob(os.path.join(out, "*", "model.onnx")):
        shutil.rmtree(os.path.dirname(stale))
    written, refused = [], []
    for r, exporter, opset in jobs:
        name = f"{r.name}_{exporter}{opset}"
        source, target = os.path.join(folder, name), os.path.join(out, name)
        if not os.path.exists(os.path.join(source, "model.onnx")):
            refused.append((name, index.reason(source + ".failed")))
            continue
        os.makedirs(target, exist_ok=True)
        shutil.copy(os.path.join(source, "model.onnx"), target)
        try:
            written.append((name, r, exporter, opset, expect.write_sets(r, seed, source, target)))
        except Exception as error:
            refused.append((name, "ONNX Runtime: " + str(error).replace("\n", " ")[:160]))
            shutil.rmtree(target)
    return written, refused


if __name__ == "__main__":
    main()

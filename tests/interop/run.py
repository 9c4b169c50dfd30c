"""Drives the real Triton client, prometheus_client and perf_analyzer against recurd, with ONNX Runtime as the oracle.

usage: run.py --server build/release/recurd [--only TEXT]

Makes a model repository of the bundled models, the golden networks and a few probe models, starts the server
on a free loopback port, runs the checks and stops it. One line per failed check; the last line is the count.
"""

import argparse
import os
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)

import asyncio_calls
import crowd
import datatypes
import infer_forms
import load_calls
import metadata_calls
import metrics_page
import networks
import perf_analyzer
import sequences
from checks import Report, equal
from daemon import Daemon
from repository import Repository


class Site:
    def __init__(self, url, repository, scratch):
        self.url, self.repository, self.scratch = url, repository, scratch


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", required=True)
    options.add_argument("--models", default=os.path.join(ROOT, "models"), help="bundled models")
    options.add_argument("--golden", default=os.path.join(ROOT, "tests", "golden", "nets"))
    options.add_argument("--perf", default=os.path.join(ROOT, "build", "perf_analyzer"), help="where perf_analyzer is kept")
    options.add_argument("--only", default="", help="checks whose name holds this text")
    options.add_argument("--log", default=os.path.join(ROOT, "build", "interop-server.log"))
    options.add_argument("--slow", action="store_true", help="name the slowest checks")
    options = options.parse_args()
    report = Report(options.only)
    with tempfile.TemporaryDirectory(prefix="recurd-interop-") as scratch, open(options.log, "w") as log:
        repository = Repository(os.path.join(scratch, "models"), options.models, options.golden)
        server = None
        try:
            server = Daemon(os.path.abspath(options.server), repository.root, log)
            server.wait_ready(120)
            run_all(report, Site(server.url, repository, scratch), options)
        except (RuntimeError, OSError) as error:
            report.run("server", _raise, error)
        finally:
            if server is not None:
                report.run("server.survives_the_run", equal, server.process.poll(), None, "the server's status at the end")
                report.run("server.stops_cleanly", equal, server.stop(), 0, "status after SIGTERM")
    if report.failed:
        print(f"server log: {options.log}")
    if options.slow:
        for seconds, name in sorted(report.slowest, reverse=True)[:10]:
            print(f"{seconds:6.2f} s {name}")
    return report.close()


def run_all(report, site, options):
    for part in (metadata_calls, infer_forms, datatypes, asyncio_calls, networks, load_calls, sequences, crowd, metrics_page):
        part.run(report, site)
    perf_analyzer.run(report, site, options.perf)


def _raise(error):
    raise error


if __name__ == "__main__":
    sys.exit(main())

"""Named checks: each either returns, or raises with the reason it failed."""

import time
import traceback


class Skipped(Exception):
    """Raised by a check that the server or the machine says it cannot take part in."""


class Report:
    def __init__(self, only=""):
        self.only, self.passed, self.failed, self.skipped = only, 0, 0, 0
        self.slowest = []

    def run(self, name, check, *args):
        if self.only not in name:
            return
        start = time.monotonic()
        try:
            check(*args)
            self.passed += 1
        except Skipped as reason:
            self.skipped += 1
            print(f"skipped {name}: {reason}", flush=True)
        except BaseException as error:  # gevent.Timeout is not an Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            self.failed += 1
            print(f"FAIL {name}: {_first_line(error)}", flush=True)
        self.slowest.append((time.monotonic() - start, name))

    def close(self):
        """The closing line that test runners read."""
        more = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{more}", flush=True)
        return 1 if self.failed or not self.passed else 0


def _first_line(error):
    text = str(error).strip().replace("\n", " ")[:400]
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"


def expect(truth, message):
    if not truth:
        raise AssertionError(message)


def equal(got, want, what):
    expect(got == want, f"{what} is {got!r}, expected {want!r}")

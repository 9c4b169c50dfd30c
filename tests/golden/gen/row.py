"""One row of the table: a network written as data, and the exports wanted of it.

Imported by both interpreters (torch 2.13 and Debian's torch 1.13), so it uses nothing
but the standard library.
"""

import dataclasses
import re


@dataclasses.dataclass
class Input:
    """A graph input. A dim that is a string is dynamic and named so; an int is fixed."""

    name: str
    dims: list
    kind: str = "float"  # float | token:V | length | mask | double | int:LO:HI


@dataclasses.dataclass
class Row:
    name: str
    inputs: list
    layers: list
    exports: str
    sizes: list
    note: str = ""

    def jobs(self, more=False):
        """`old13 ts17 dyn18 | ts11` -> [("old", 13), ...]; what follows the bar is made only on request.

        old: torch 1.13; oldfn: its modules as functions; ts and dyn: torch 2.13 without and with dynamo;
        dynraw: dynamo with optimize=False.
        """
        kept, _, rest = self.exports.partition("|")
        for word in (kept + " " + rest if more else kept).split():
            exporter, opset = re.fullmatch(r"(oldfn|old|ts|dynraw|dyn)(\d+)", word).groups()
            yield exporter, int(opset)


# Batch and time of the test sets; the first is also what the exporter traces with.
SIZES = [{"B": 3, "T": 6}, {"B": 1, "T": 11}]
RAGGED_SIZES = SIZES + [{"B": 5, "T": 2}]


def row(name, inputs, layers, exports, sizes=None, note=""):
    ragged = any(i.name == "lengths" for i in inputs)
    return Row(name, inputs, layers, exports, sizes or (RAGGED_SIZES if ragged else SIZES), note)


def seq(features):
    return Input("x", ["B", "T", features])


def time_major(features):
    return Input("x", ["T", "B", features])


def channels(features):
    return Input("x", ["B", features, "T"])


def vec(features):
    return Input("x", ["B", features])


def tokens(vocabulary):
    return Input("tokens", ["B", "T"], f"token:{vocabulary}")


def lengths():
    return Input("lengths", ["B"], "length")


def mask():
    return Input("mask", ["B", "T"], "mask")


def state(name, *dims):
    return Input(name, list(dims))


def layer(text):
    """`lstm 12 layers=2 bi` -> ("lstm", [12], {"layers": 2, "bi": True})."""
    words = text.split()
    args, options = [], {}
    for word in words[1:]:
        key, eq, value = word.partition("=")
        if eq:
            options[key] = _number(value)
        elif _number(word) != word:
            args.append(_number(word))
        else:
            options[word] = True
    return words[0], args, options


def _number(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text

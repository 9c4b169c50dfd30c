"""Rows drawn at random from the layers of the table: networks that nobody looked at before."""

import random

from row import Input, row, seq, state, time_major, tokens

ACTIVATIONS = ["relu", "leaky", "elu", "selu", "gelu", "silu", "hardsigmoid", "hardswish", "hardtanh", "softplus",
               "softsign", "tanh", "sigmoid", "relu6", "logsigmoid"]
MIDDLES = ["shape expand_add", "shape stack_pair", "shape flip", "shape cumsum", "shape pad_time", "layernorm", "freenorm",
           "dropout", "bmm", "attn", "conv", "residual", "act", "linear"]
ENDS = ["shape last", "shape mean", "shape max", "shape join3", "attn_pool", "shape best", "shape top_two", "act logsoftmax",
        "act softmax", "none"]
RAGGED_ENDS = ["shape last_len", "shape mean_len", "shape max_len", "attn_pool", "shape last_row"]
OPSETS = {"old": range(11, 18), "ts": [11, 12, 13, 14, 15, 16, 17, 18, 20], "dyn": [18, 20, 21]}


def rows(count, seed):
    return [_row(random.Random(f"{seed}/{k}"), f"random_{seed}_{k}") for k in range(count)]


def _row(pick, name):
    exporter = pick.choice(["old", "ts", "dyn"])
    export = exporter + str(pick.choice(list(OPSETS[exporter])))
    packing = pick.choice(["", "", "packed", "packed_any"]) if exporter != "dyn" else ""
    ragged = bool(packing) or pick.random() < 0.25
    width, hidden = pick.randint(3, 12), pick.randint(3, 16)
    if pick.random() < 0.15 and not ragged:
        inputs, layers = [time_major(width)], [_recurrent(pick, hidden, "tf")]
        return row(name, inputs, layers + [f"linear {pick.randint(2, 9)}"], export, _sizes(pick))
    if pick.random() < 0.4:
        rows_in = pick.randint(8, 60)
        inputs, layers = [tokens(rows_in)], [f"embed {rows_in} {width}"]
    else:
        inputs, layers = [seq(width)], []
    if ragged:
        inputs.append(Input("lengths", ["B"], "length" if packing == "packed" else "shuffled"))
    layers += _middle(pick, 0 if ragged else pick.randint(0, 2))
    recurrent = _recurrent(pick, hidden, packing)
    if pick.random() < 0.3:
        recurrent += " init"
        kind, copies = recurrent.split()[0], _copies(recurrent)
        inputs.append(state("h0", copies, "B", hidden))
        if kind == "lstm":
            inputs.append(state("c0", copies, "B", hidden))
    layers.append(recurrent)
    end = pick.choice(RAGGED_ENDS if ragged else ENDS)
    if not ragged:
        layers += _middle(pick, pick.randint(0, 2))
    layers.append(f"linear {pick.randint(3, 9)}")
    if end != "none":
        layers.append(end)
    return row(name, inputs, layers, export, _sizes(pick))


def _recurrent(pick, hidden, more):
    words = [pick.choice(["rnn", "lstm", "gru", "lstm", "gru"]), str(hidden), f"layers={pick.randint(1, 4)}"]
    words += [w for w, chance in (("bi", 0.4), ("nobias", 0.2), ("states", 0.5)) if pick.random() < chance]
    if words[0] == "rnn" and pick.random() < 0.5:
        words.append("relu")
    return " ".join(words + more.split())


def _copies(text):
    words = text.split()
    layers = next(int(w[7:]) for w in words if w.startswith("layers="))
    return layers * (2 if "bi" in words else 1)


def _middle(pick, count):
    layers = []
    for _ in range(count):
        kind = pick.choice(MIDDLES)
        if kind == "conv":
            size = pick.choice([1, 3, 5])
            layers.append(f"conv {pick.randint(3, 9)} k={size} dil={pick.randint(1, 2)} causal")
        elif kind == "residual":
            layers.append([f"layernorm", f"act {pick.choice(ACTIVATIONS)}"])
        elif kind == "attn":
            layers += ["linear 8", ["heads 2" + pick.choice(["", " causal"])]]
        elif kind == "act":
            layers.append(f"act {pick.choice(ACTIVATIONS)}")
        elif kind == "linear":
            layers.append(f"linear {pick.randint(3, 12)}")
        else:
            layers.append(kind)
    return layers


def _sizes(pick):
    return [{"B": 3, "T": 6}] + [{"B": pick.randint(1, 6), "T": pick.randint(2, 20)} for _ in range(2)]

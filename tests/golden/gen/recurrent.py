"""nn.RNN, nn.LSTM, nn.GRU and their cells as layers of a table row."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Recurrent(nn.Module):
    """`lstm 12 layers=2 bi tf nobias init states packed|packed_any proj=4 relu`

    tf: time first. init: initial states are the graph inputs h0 (and c0).
    zero: zero states are made in the graph from the batch size (what many users write).
    states: final states are graph outputs. packed: lengths sorted; packed_any: not sorted.
    """

    def __init__(self, kind, width, hidden, layers=1, bi=False, tf=False, nobias=False, init=False,
                 zero=False, states=False, packed=False, packed_any=False, proj=0, relu=False,
                 dropout=0.0, only_state=False):
        super().__init__()
        options = dict(num_layers=layers, bidirectional=bi, batch_first=not tf, bias=not nobias)
        if layers > 1:
            options["dropout"] = dropout
        if kind == "rnn":
            options["nonlinearity"] = "relu" if relu else "tanh"
        if proj:
            options["proj_size"] = proj
        self.net = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind](width, hidden, **options)
        self.kind, self.hidden, self.time_first = kind, hidden, tf
        self.init, self.zero, self.states, self.only_state = init, zero, states, only_state
        self.packing = "sorted" if packed else "any" if packed_any else ""
        self.copies = layers * (2 if bi else 1)
        self.width = (proj or hidden) * (2 if bi and not only_state else 1)

    def begin(self, x, io):
        if self.init:
            return (io["h0"], io["c0"]) if self.kind == "lstm" else io["h0"]
        if self.zero:
            batch = x.size(1 if self.time_first else 0)
            h = torch.zeros(self.copies, batch, self.hidden)
            return (h, torch.zeros(self.copies, batch, self.hidden)) if self.kind == "lstm" else h
        return None

    def forward(self, x, io):
        start = self.begin(x, io)
        if self.packing:
            x = pack_padded_sequence(x, io["lengths"], batch_first=not self.time_first,
                                     enforce_sorted=self.packing == "sorted")
        y, end = self.net(x) if start is None else self.net(x, start)
        if self.packing:
            y, _ = pad_packed_sequence(y, batch_first=not self.time_first)
        if self.only_state:  # sequence classifiers that read h_n[-1]
            return (end[0] if self.kind == "lstm" else end)[-1]
        if self.states:
            for name, value in zip(("hn", "cn"), end if self.kind == "lstm" else (end,)):
                io["out"].append((name, value))
        return y


class Cell(nn.Module):
    """`lstmcell 9`: one step, states h0/c0 in and h1/c1 out. `unroll=3`: over that many steps of x."""

    def __init__(self, kind, width, hidden, unroll=0, nobias=False, relu=False):
        super().__init__()
        options = {"bias": not nobias}
        if kind == "rnn":
            options["nonlinearity"] = "relu" if relu else "tanh"
        self.cell = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}[kind](width, hidden, **options)
        self.kind, self.unroll, self.width = kind, unroll, hidden

    def step(self, x, held):
        if self.kind == "lstm":
            return self.cell(x, held)
        return (self.cell(x, held[0]),)

    def forward(self, x, io):
        held = (io["h0"], io["c0"]) if self.kind == "lstm" else (io["h0"],)
        if self.unroll:
            seen = []
            for t in range(self.unroll):
                held = self.step(x[:, t], held)
                seen.append(held[0])
            y = torch.stack(seen, dim=1)
        else:
            held = self.step(x, held)
            y = held[0]
        for name, value in zip(("h1", "c1"), held):
            io["out"].append((name, value))
        return y

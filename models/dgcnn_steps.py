"""dgcnn_steps.py - DGCNN trained one graph a step, as its authors train it: gradients by hand, in numpy.

A step of PyTorch costs 3 ms for a graph of forty nodes, nearly all of it for starting a hundred small operations and
noting what comes back; a fold of PROTEINS has a hundred thousand steps. Written out they take a tenth of that. The numbers
are those of dgcnn.Dgcnn: check() compares a step's loss and gradients with PyTorch's.
"""
import numpy as np
import torch
from torch.nn import functional


class Graph:
    """D^-1 (A + I), its product with the features, and 1 / D."""

    def __init__(self, x, edge_index, y):
        n = len(x)
        near = np.eye(n, dtype=np.float32)
        np.add.at(near, (edge_index[1], edge_index[0]), np.float32(1))
        self.inverse = 1 / near.sum(1, keepdims=True)
        self.near = near * self.inverse
        self.first, self.y = self.near @ x, int(y)


class Steps:
    """The parameters of a Dgcnn as one vector, and Adam on it."""

    def __init__(self, net, rate):
        self.net, self.k = net, net.k
        values = [p.detach().numpy() for p in net.parameters()]
        self.all = np.concatenate([v.ravel() for v in values])
        self.grad = np.zeros_like(self.all)
        one = torch.from_numpy(self.all).requires_grad_()  # the same memory
        one.grad = torch.from_numpy(self.grad)
        self.adam = torch.optim.Adam([one], lr=rate, fused=True)
        self.values, self.grads, at = {}, {}, 0
        for (name, _), v in zip(net.named_parameters(), values):
            self.values[name] = self.all[at:at + v.size].reshape(v.shape)
            self.grads[name] = self.grad[at:at + v.size].reshape(v.shape)
            at += v.size

    def give_back(self):
        with torch.no_grad():
            for name, p in self.net.named_parameters():
                p.copy_(torch.from_numpy(self.values[name]))

    def gradient(self, g, kept):
        """The loss of a graph; self.grad is its gradient. kept: 0 or 2 for each hidden unit (dropout)."""
        w, d, k, half = self.values, self.grads, self.k, self.k // 2
        parts = len(self.net.parts)
        z, all_z = None, []
        for i in range(parts):
            weight = w[f"parts.{i}.weight"]
            sums = g.first @ weight.T if i == 0 else g.near @ (z @ weight.T)
            z = np.tanh(sums + g.inverse * w[f"parts.{i}.bias"])
            all_z.append(z)
        channels = np.concatenate(all_z, 1)
        best = np.argsort(-channels[:, -1], kind="stable")[:k]
        rows = np.zeros((k, channels.shape[1]), np.float32)
        rows[:len(best)] = channels[best]
        w1 = w["rows.weight"][:, 0]
        one = np.maximum(rows @ w1.T + w["rows.bias"], 0)[:2 * half].reshape(half, 2, -1)
        pooled = one.max(1)
        width = w["along.weight"].shape[2]
        length = half - width + 1
        w2 = w["along.weight"].transpose(0, 2, 1).reshape(len(w["along.bias"]), -1)  # [out, tap and channel]
        seen = np.concatenate([pooled[j:j + length] for j in range(width)], 1)
        two = np.maximum(seen @ w2.T + w["along.bias"], 0)
        flat = two.T.reshape(-1)
        hidden = np.maximum(w["hidden.weight"] @ flat + w["hidden.bias"], 0) * kept
        logits = w["out.weight"] @ hidden + w["out.bias"]
        logits -= logits.max()
        p = np.exp(logits)
        p /= p.sum()
        loss = -np.log(p[g.y])

        p[g.y] -= 1
        d["out.bias"][:] = p
        np.outer(p, hidden, d["out.weight"])
        dh = (p @ w["out.weight"]) * kept * (hidden > 0)
        d["hidden.bias"][:] = dh
        np.outer(dh, flat, d["hidden.weight"])
        dtwo = (dh @ w["hidden.weight"]).reshape(-1, length).T * (two > 0)
        d["along.bias"][:] = dtwo.sum(0)
        d["along.weight"][:] = (dtwo.T @ seen).reshape(len(w2), width, -1).transpose(0, 2, 1)
        dseen = (dtwo @ w2).reshape(length, width, -1)
        dpooled = np.zeros_like(pooled)
        for j in range(width):
            dpooled[j:j + length] += dseen[:, j]
        largest = (one == pooled[:, None]) & (one > 0)
        share = dpooled / np.maximum(largest.sum(1), 1)  # equal ones share, as in amax
        done = np.zeros((k, len(w1)), np.float32)
        done[:2 * half] = (largest * share[:, None]).reshape(2 * half, -1)
        d["rows.bias"][:] = done.sum(0)
        d["rows.weight"][:, 0] = done.T @ rows
        dchannels = np.zeros_like(channels)
        dchannels[best] = (done @ w1)[:len(best)]
        carry, end = 0, channels.shape[1]
        for i in reversed(range(parts)):
            width_i = all_z[i].shape[1]
            dz = (dchannels[:, end - width_i:end] + carry) * (1 - all_z[i] * all_z[i])
            end -= width_i
            d[f"parts.{i}.bias"][:] = (dz * g.inverse).sum(0)
            if i == 0:
                d["parts.0.weight"][:] = dz.T @ g.first
            else:
                back = g.near.T @ dz
                d[f"parts.{i}.weight"][:] = back.T @ all_z[i - 1]
                carry = back @ w[f"parts.{i}.weight"]
        return loss

    def step(self, g):
        kept = 2 * np.random.randint(0, 2, self.net.hidden.out_features).astype(np.float32)
        loss = self.gradient(g, kept)
        self.adam.step()
        return loss


def check(net, graphs, some):
    """Losses and gradients of some graphs against PyTorch's, without dropout. Of nodes with equal keys either may come
    first: graphs that have such are passed over."""
    steps, net = Steps(net, 0), net.eval()
    kept = np.ones(net.hidden.out_features, np.float32)
    for g in some:
        x, edges = graphs.one(g)
        keys = net.embed(x, edges)[:, -1]
        if len(keys.unique()) < len(keys):
            continue
        net.zero_grad()
        want = functional.cross_entropy(net(x, edges), torch.tensor([graphs.y[g]]))
        want.backward()
        loss = steps.gradient(Graph(x.numpy(), edges.numpy(), graphs.y[g]), kept)
        far = max([abs(loss - want.item())] + [np.abs(steps.grads[n] - p.grad.numpy()).max() / (1 + p.grad.abs().max().item())
                                               for n, p in net.named_parameters()])
        if far > 1e-4:
            raise SystemExit(f"dgcnn_steps: graph {g} differs from PyTorch by {far:.1e}")
    net.zero_grad()


def train(net, graphs, some, rate, epochs, look=lambda: None):
    """`net` trained on the graphs `some`, in a new order each epoch; the mean loss of each epoch. After each, look()."""
    check(net, graphs, some[:20])
    torch.set_flush_denormal(True)  # means of gradients that have stopped would fade through them, slowly
    steps = Steps(net, rate)
    ready = {g: Graph(*(t.numpy() for t in graphs.one(g)), graphs.y[g]) for g in some}
    losses = []
    for _ in range(epochs):
        losses.append(float(np.mean([steps.step(ready[g]) for g in np.random.permutation(some)])))
        steps.give_back()
        look()
    return losses

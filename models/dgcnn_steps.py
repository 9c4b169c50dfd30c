"""dgcnn_steps.py - DGCNN trained one graph a step, as its authors train it: gradients by hand, compiled by numba.

A step of PyTorch costs 3 ms for a graph of forty nodes, nearly all of it for starting a hundred small operations and
noting what comes back; a fold of PROTEINS has a hundred thousand steps. Written out and compiled they take a fifteenth of
that. The numbers are those of dgcnn.Dgcnn: check() compares losses and gradients with PyTorch's.
"""
import numba
import numpy as np
import torch
from torch.nn import functional

BETA, EPSILON = (0.9, 0.999), 1e-8  # Adam
NEAR = 1e-6


def flat(graphs):
    """All graphs as arrays: features, first node, first neighbour of each node, neighbours, 1 / (degree + 1), class."""
    source, target = graphs.edges
    order = np.argsort(target, kind="stable")
    start = np.searchsorted(target[order], np.arange(len(graphs.x) + 1))
    degree = (start[1:] - start[:-1] + 1).astype(np.float32)
    return graphs.x, graphs.first, start, source[order], 1 / degree, graphs.y


class Parameters:
    """Those of a Dgcnn as one vector, which is what PyTorch's parameters are views of, too."""

    def __init__(self, net):
        values = [p.detach().numpy() for p in net.parameters()]
        self.all = np.concatenate([v.ravel() for v in values])
        self.names, self.at, at = {}, np.cumsum([0] + [v.size for v in values]), 0
        for (name, p), v in zip(net.named_parameters(), values):
            self.names[name] = slice(at, at + v.size)
            p.data = torch.from_numpy(self.all[at:at + v.size].reshape(v.shape))
            at += v.size
        self.sizes = (net.k, net.rows.out_channels, net.along.out_channels, net.along.kernel_size[0], net.hidden.out_features,
                      net.out.out_features)
        self.widths = np.array([net.parts[0].in_features] + [part.out_features for part in net.parts])


@numba.njit(cache=True, error_model="numpy")
def spread(h, out, first, n, start, near, inverse):
    """out = D^-1 (A + I) h."""
    for v in range(n):
        for j in range(h.shape[1]):
            out[v, j] = h[v, j]
        for e in range(start[first + v], start[first + v + 1]):
            for j in range(h.shape[1]):
                out[v, j] += h[near[e] - first, j]
        for j in range(h.shape[1]):
            out[v, j] *= inverse[first + v]


@numba.njit(cache=True, error_model="numpy")
def spread_back(d, out, first, n, start, near, inverse):
    """out = (A + I)^T D^-1 d; out starts from zeros."""
    for v in range(n):
        for j in range(d.shape[1]):
            out[v, j] += d[v, j] * inverse[first + v]
        for e in range(start[first + v], start[first + v + 1]):
            for j in range(d.shape[1]):
                out[near[e] - first, j] += d[v, j] * inverse[first + v]


@numba.njit(cache=True, error_model="numpy")
def outer(a, b, to):
    for i in range(len(a)):
        for j in range(len(b)):
            to[i * len(b) + j] = a[i] * b[j]


@numba.njit(cache=True, error_model="numpy")
def gradient(p, grad, at, widths, sizes, graph, data, kept):
    """The loss of a graph; grad becomes its gradient. kept: 0 or 2 for each hidden unit (dropout)."""
    x, first_of, start, near, inverse, y = data
    k, n_rows, n_along, width, n_hidden, n_classes = sizes
    first, n = first_of[graph], first_of[graph + 1] - first_of[graph]
    parts, half = len(widths) - 1, k // 2
    total, length = widths[1:].sum(), half - width + 1

    z = [np.ascontiguousarray(x[first:first + n])]
    for i in range(parts):
        weight = p[at[i]:at[i + 1]].reshape(widths[i + 1], widths[i])
        sums = np.empty((n, widths[i + 1]), np.float32)
        spread(np.dot(z[i], weight.T), sums, first, n, start, near, inverse)
        z.append(np.tanh(sums))
    best = np.argsort(-z[parts][:, 0], kind="mergesort")[:k]
    rows = np.zeros((k, total), np.float32)
    for r in range(len(best)):
        a = 0
        for i in range(parts):
            rows[r, a:a + widths[i + 1]] = z[i + 1][best[r]]
            a += widths[i + 1]
    o = parts
    w1 = p[at[o]:at[o + 1]].reshape(n_rows, total)
    one = np.dot(rows, w1.T) + p[at[o + 1]:at[o + 2]]
    pooled, which = np.zeros((half, n_rows), np.float32), np.zeros((half, n_rows), np.int64)
    for r in range(half):
        for c in range(n_rows):
            pooled[r, c] = max(one[2 * r, c], one[2 * r + 1, c], np.float32(0))
            which[r, c] = one[2 * r + 1, c] > one[2 * r, c]
    w2 = p[at[o + 2]:at[o + 3]].reshape(n_along, n_rows * width)  # [out, channel and tap]
    seen = np.empty((length, n_rows * width), np.float32)
    for r in range(length):
        for c in range(n_rows):
            for t in range(width):
                seen[r, c * width + t] = pooled[r + t, c]
    two = np.maximum(np.dot(seen, w2.T) + p[at[o + 3]:at[o + 4]], np.float32(0))
    head = np.ascontiguousarray(two.T).ravel()
    w3 = p[at[o + 4]:at[o + 5]].reshape(n_hidden, n_along * length)
    hidden = np.maximum(np.dot(w3, head) + p[at[o + 5]:at[o + 6]], np.float32(0)) * kept
    w4 = p[at[o + 6]:at[o + 7]].reshape(n_classes, n_hidden)
    logits = np.dot(w4, hidden) + p[at[o + 7]:at[o + 8]]
    logits = logits - logits.max()
    odds = np.exp(logits)
    odds /= odds.sum()
    loss = -np.log(odds[y[graph]])

    odds[y[graph]] -= 1
    grad[at[o + 7]:at[o + 8]] = odds
    outer(odds, hidden, grad[at[o + 6]:at[o + 7]])
    dh = np.dot(odds, w4) * kept
    dh[hidden == 0] = 0
    grad[at[o + 5]:at[o + 6]] = dh
    outer(dh, head, grad[at[o + 4]:at[o + 5]])
    dtwo = np.ascontiguousarray(np.dot(dh, w3).reshape(n_along, length).T)
    for r in range(length):
        for c in range(n_along):
            if two[r, c] <= 0:
                dtwo[r, c] = 0
    for c in range(n_along):
        grad[at[o + 3] + c] = dtwo[:, c].sum()
    grad[at[o + 2]:at[o + 3]] = np.dot(dtwo.T, seen).ravel()
    dseen = np.dot(dtwo, w2)
    done = np.zeros((k, n_rows), np.float32)
    for r in range(length):
        for c in range(n_rows):
            for t in range(width):
                if pooled[r + t, c] > 0:
                    done[2 * (r + t) + which[r + t, c], c] += dseen[r, c * width + t]
    for c in range(n_rows):
        grad[at[o + 1] + c] = done[:, c].sum()
    grad[at[o]:at[o + 1]] = np.dot(done.T, rows).ravel()
    drows = np.dot(done, w1)
    end, carry = total, np.zeros((n, widths[parts]), np.float32)
    for i in range(parts - 1, -1, -1):
        dz = carry
        for r in range(len(best)):
            dz[best[r]] += drows[r, end - widths[i + 1]:end]
        dz = dz * (1 - z[i + 1] * z[i + 1])
        end -= widths[i + 1]
        back = np.zeros((n, widths[i + 1]), np.float32)
        spread_back(dz, back, first, n, start, near, inverse)
        grad[at[i]:at[i + 1]] = np.dot(back.T, z[i]).ravel()
        if i > 0:
            weight = p[at[i]:at[i + 1]].reshape(widths[i + 1], widths[i])
            carry = np.dot(back, weight)
    return loss


@numba.njit(cache=True, error_model="numpy")
def adam(p, grad, mean, square, step, rate):
    """One step of Adam, as PyTorch does it."""
    by = np.float32(rate / (1 - BETA[0]**step))
    root = np.float32(np.sqrt(1 - BETA[1]**step))
    for i in range(len(p)):
        mean[i] += np.float32(1 - BETA[0]) * (grad[i] - mean[i])
        square[i] = np.float32(BETA[1]) * square[i] + np.float32(1 - BETA[1]) * grad[i] * grad[i]
        p[i] -= by * mean[i] / (np.sqrt(square[i]) / root + np.float32(EPSILON))


@numba.njit(cache=True, error_model="numpy")
def epoch(p, state, at, widths, sizes, order, data, step, rate):
    """The mean loss of a step for each graph of `order`."""
    grad, mean, square = state
    total = 0.0
    for graph in order:
        kept = (2 * np.random.randint(0, 2, sizes[4])).astype(np.float32)
        total += gradient(p, grad, at, widths, sizes, graph, data, kept)
        step += 1
        adam(p, grad, mean, square, step, rate)
    return total / len(order)


@numba.njit(cache=True, error_model="numpy")
def set_seed(seed):
    np.random.seed(seed)  # numba has a generator of its own


def check(net, graphs, some):
    """Losses and gradients of some graphs against PyTorch's, without dropout. Of nodes whose keys are equal, but for
    rounding, either may come first: graphs that have such are passed over."""
    net = net.eval()
    own, data = Parameters(net), flat(graphs)
    kept, grad = np.ones(net.hidden.out_features, np.float32), np.zeros_like(own.all)
    for g in some:
        x, edges = graphs.one(g)
        if (net.embed(x, edges)[:, -1].sort().values.diff() < NEAR).any():
            continue
        net.zero_grad()
        want = functional.cross_entropy(net(x, edges), torch.tensor([graphs.y[g]]))
        want.backward()
        loss = gradient(own.all, grad, own.at, own.widths, own.sizes, g, data, kept)
        far = max([abs(loss - want.item())] +
                  [np.abs(grad[own.names[n]] - p.grad.numpy().ravel()).max() / (1 + p.grad.abs().max().item())
                   for n, p in net.named_parameters()])
        if far > 1e-4:
            raise SystemExit(f"dgcnn_steps: graph {g} differs from PyTorch by {far:.1e}")
    net.zero_grad()


def train(net, graphs, some, rate, epochs, seed, look=lambda: None):
    """`net` trained on the graphs `some`, in a new order each epoch; the mean loss of each epoch. After each, look()."""
    check(net, graphs, some[:20])
    torch.set_flush_denormal(True)  # means of gradients that have stopped would fade through them, slowly
    own, data = Parameters(net), flat(graphs)
    state = tuple(np.zeros_like(own.all) for _ in range(3))
    set_seed(seed)
    losses = []
    for i in range(epochs):
        order = np.random.permutation(some)
        losses.append(epoch(own.all, state, own.at, own.widths, own.sizes, order, data, i * len(some), rate))
        look()
    return losses

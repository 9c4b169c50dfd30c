"""graph_client.py - what the tests of graphs share: requests, a graph as it should be after each change, a crowd that asks."""

import json
import random
import struct
import threading

import daemon

RNG = random.Random(4)
LOST, GCN, GAE, TGCN, POOL = "graph_index_add_ts18", "graph_gcn_ts18", "graph_gae_ts18", "graph_tgcn_dyn18", "graph_pool_mean_dyn18"
F = 6


def tensor(name, datatype, shape, data):
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": data}


def rows(name, values):
    return tensor(name, "FP32", (len(values), F), [v for row in values for v in row])


def edge_index(edges, name="edge_index", datatype="INT64"):
    return tensor(name, datatype, (2, len(edges)), [a for a, _ in edges] + [b for _, b in edges])


def single(v):
    return struct.unpack("f", struct.pack("f", v))[0]


def vector():
    return [single(RNG.uniform(-1, 1)) for _ in range(F)]


def send(d, method, path, inputs=(), **params):
    body = {"inputs": list(inputs), "parameters": params}
    status, answer, _ = d.call(method, path, json.dumps(body) if method != "GET" else None)
    return status, json.loads(answer) if answer else None


def good(d, method, path, inputs=(), **params):
    status, answer = send(d, method, path, inputs, **params)
    assert status in (200, 201, 204), (status, answer)
    return answer


def refused(d, code, method, path, inputs=(), **params):
    status, answer = send(d, method, path, inputs, **params)
    assert status == code, (status, answer)
    return answer["error"]


def infer(d, model, inputs=(), **params):
    return good(d, "POST", f"/v2/models/{model}/infer", inputs, **params)


def output(answer):
    return answer["outputs"][0]["data"], answer["outputs"][0]["shape"]


def read(d, name):
    """The graph's tensors by name: (datatype, shape, data)."""
    answer = good(d, "GET", f"/v2/graphs/{name}/tensors")
    return {t["name"]: (t["datatype"], t["shape"], [single(v) for v in t["data"]] if t["datatype"] == "FP32" else t["data"])
            for t in answer["outputs"]}


class Graph:
    """What a graph should be, the slow way."""

    def __init__(self, n, n_edges, undirected=False):
        self.undirected, self.next_id = undirected, n
        self.ids = [f"n{i}" for i in range(n)]
        self.x = [vector() for _ in range(n)]
        self.edges, self.weights = [], []
        for _ in range(n_edges):
            self.link(RNG.randrange(n), RNG.randrange(n))

    def link(self, a, b):
        w = RNG.randrange(1, 9) / 4
        both = [(a, b), (b, a)] if self.undirected and a != b else [(a, b)]
        self.edges += both
        self.weights += [w] * len(both)

    def once(self):
        """Edges as a client gives them: without mirror images."""
        kept, i = [], 0
        while i < len(self.edges):
            kept.append(i)
            a, b = self.edges[i]
            i += 2 if self.undirected and a != b else 1
        return kept

    def inputs(self):
        kept = self.once()
        return [rows("x", self.x), tensor("id", "BYTES", (len(self.ids),), self.ids),
                edge_index([self.edges[i] for i in kept]),
                tensor("edge_weight", "FP32", (len(kept),), [self.weights[i] for i in kept])]

    def change(self):
        """A random change: the request's tensors; self becomes what the graph should become."""
        inputs, n = [], len(self.x)
        if RNG.random() < 0.4 and n:
            who = RNG.sample(range(n), RNG.randrange(1, min(n, 3) + 1))
            values = [vector() for _ in who]
            for i, v in zip(who, values):
                self.x[i] = v
            inputs += [tensor("set.nodes", "BYTES", (len(who),), [self.ids[i] for i in who]), rows("set.x", values)]
        if RNG.random() < 0.4:
            k = RNG.randrange(1, 3)
            values, ids = [vector() for _ in range(k)], [f"n{self.next_id + i}" for i in range(k)]
            self.next_id += k
            self.x += values
            self.ids += ids
            inputs += [rows("add.x", values), tensor("add.id", "BYTES", (k,), ids)]
        if RNG.random() < 0.4 and self.edges:
            a, b = RNG.choice(self.edges)
            gone = {(a, b), (b, a)} if self.undirected else {(a, b)}
            kept = [i for i, e in enumerate(self.edges) if e not in gone]
            self.edges, self.weights = [self.edges[i] for i in kept], [self.weights[i] for i in kept]
            inputs.append(edge_index([(a, b)], "remove.edge_index"))
        if RNG.random() < 0.6 and self.x:
            before, k = len(self.edges), RNG.randrange(1, 4)
            for _ in range(k):
                self.link(RNG.randrange(len(self.x)), RNG.randrange(len(self.x)))
            kept = [i for i in self.once() if i >= before]
            named = RNG.random() < 0.5
            new = [self.edges[i] for i in kept]
            inputs += [edge_index([(self.ids[a], self.ids[b]) for a, b in new], "add.edge_index", "BYTES") if named
                       else edge_index(new, "add.edge_index"),
                       tensor("add.edge_weight", "FP32", (len(kept),), [self.weights[i] for i in kept])]
        if RNG.random() < 0.2 and len(self.x) > 2:
            i = RNG.randrange(len(self.x))
            inputs.append(tensor("remove.nodes", "BYTES", (1,), [self.ids[i]]))
            kept = [e for e, ends in enumerate(self.edges) if i not in ends]
            self.weights = [self.weights[e] for e in kept]
            self.edges = [tuple(k - (k > i) for k in self.edges[e]) for e in kept]
            del self.x[i], self.ids[i]
        return inputs

    def check(self, d, name):
        t = read(d, name)
        assert t["x"] == ("FP32", [len(self.x), F], [v for row in self.x for v in row])
        assert t["id"][2] == self.ids
        want = [a for a, _ in self.edges] + [b for _, b in self.edges]
        assert t["edge_index"][2] == want, (t["edge_index"][2], want)
        assert t["edge_weight"][2] == self.weights

    def plain(self):
        return [rows("x", self.x), edge_index(self.edges)]


class Crowd:
    """Threads that ask GCN about a graph, each so many times; answers() waits and gives (version, output) of all."""

    def __init__(self, d, name, threads, times):
        self.seen, self.failures = [], []
        self.threads = [threading.Thread(target=self.ask, args=(d, name, times)) for _ in range(threads)]
        for t in self.threads:
            t.start()

    def ask(self, d, name, times):
        try:
            for _ in range(times):
                answer = infer(d, GCN, graph=name)
                self.seen.append((answer["parameters"]["graph_version"], output(answer)[0]))
        except AssertionError as e:
            self.failures.append(e)

    def answers(self):
        for t in self.threads:
            t.join()
        assert not self.failures, self.failures
        return self.seen


def serving(*options):
    return daemon.Daemon(serving.repository, *options)

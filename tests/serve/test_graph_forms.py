"""test_graph_forms.py - graphs in requests (several by pointer, rows by target), inputs that follow from a graph, and
sessions whose state has a row per node of a registered graph.

usage: test_graph_forms.py RECURD. The networks are golden ones of PyTorch Geometric."""

import concurrent.futures
import gzip
import json
import math
import random
import struct
import subprocess
import sys
import time

import daemon
import golden
from graph_client import F, edge_index, good, infer, output, refused, rows, single, tensor, vector

RNG = random.Random(9)
RGCN = "graph_rgcn_ts18"
PERMUTED = ["graph_gcn_ts18", "graph_gat_ts18", "graph_gatv2_dyn18", "graph_sage_mean_dyn18", "graph_sage_max_dyn18", "graph_gin_ts18",
            "graph_cheb_ts18", "graph_sgc_dyn18"]
GCN, POOL, SPECTRAL, CELL, HETERO = "graph_gcn_ts18", "graph_pool_mean_rx18", "graph_spectral_ts18", "graph_tgcn_rx18", "graph_hetero_rx18"
CELLS = {"cell": CELL, "gconvgru": "graph_gconvgru_rx18", "dcrnn": "graph_dcrnn_rx18"}


def serving(*options):
    return daemon.Daemon(serving.repository, *options)


def near(got, want, limit=1e-5):
    scale = max(1.0, *map(abs, want))
    assert len(got) == len(want) and max((abs(a - b) for a, b in zip(got, want)), default=0) <= limit * scale, (got, want)


def test_graph_pointer():
    """Three graphs in one request give the bits of each alone, one row a graph."""
    with serving() as d:
        graphs = []
        for n in (3, 1, 4):
            edges = [(RNG.randrange(n), RNG.randrange(n)) for _ in range(2 * n)]
            graphs.append(([vector() for _ in range(n)], edges))
        alone = [output(infer(d, POOL, [rows("x", x), edge_index(e), tensor("batch_ptr", "INT64", (2,), [0, len(x)])]))[0]
                 for x, e in graphs]
        x, edges, ptr = [], [], [0]
        for nodes, ends in graphs:
            edges += [(a + ptr[-1], b + ptr[-1]) for a, b in ends]
            x += nodes
            ptr.append(len(x))
        whole = [rows("x", x), edge_index(edges)]
        data, shape = output(infer(d, POOL, [*whole, tensor("batch_ptr", "INT64", (4,), ptr)]))
        assert shape[0] == 3 and data == [v for row in alone for v in row]
        batch = [0] * 3 + [1] + [2] * 4
        assert (data, shape) == output(infer(d, POOL, [*whole, tensor("batch", "INT64", (8,), batch)]))
        data, shape = output(infer(d, POOL, [*whole, tensor("batch_ptr", "INT64", (5,), [0, 3, 3, 4, 8])]))
        assert shape[0] == 4, "an empty graph has its row, too"
        for bad, text in [([0, 3, 2, 8], "batch_ptr[2] is 2, less than the 3 before it"), ([1, 3, 4, 8], "batch_ptr[0] is 1"),
                          ([0, 3, 4, 9], "batch_ptr[3] is 9, but there are 8 nodes"), ([0, 3, 8, 8], "number 2, has no nodes")]:
            error = refused(d, 400, "POST", f"/v2/models/{POOL}/infer", [*whole, tensor("batch_ptr", "INT64", (4,), bad)])
            assert text in error, (text, error)
        error = refused(d, 400, "POST", f"/v2/models/{POOL}/infer", [*whole, tensor("batch", "INT64", (8,), batch[:-1] + [10**12])])
        assert error.startswith("batch[7] is 1000000000000, which is too large") and "a run has" in error, error
        both = [*whole, tensor("batch", "INT64", (8,), batch), tensor("batch_ptr", "INT64", (4,), ptr)]
        assert "say the same" in refused(d, 400, "POST", f"/v2/models/{POOL}/infer", both)
        good(d, "PUT", "/v2/graphs/p", whole)
        assert output(infer(d, POOL, graph="p"))[1][0] == 1, "a registered graph is one graph"
        assert output(infer(d, POOL, [tensor("batch_ptr", "INT64", (4,), ptr)], graph="p"))[0][-4:] == alone[2][-4:]


def test_targets():
    with serving() as d:
        x, edges = [vector() for _ in range(6)], edge_index([(0, 1), (1, 2), (5, 0)])
        whole, (_, width) = output(infer(d, GCN, [rows("x", x), edges]))
        data, shape = output(infer(d, GCN, [rows("x", x), edges, tensor("targets", "INT64", (3,), [5, 0, 5])]))
        assert shape == [3, width] and data == [v for i in (5, 0, 5) for v in whole[i * width:(i + 1) * width]]
        error = refused(d, 400, "POST", f"/v2/models/{GCN}/infer", [rows("x", x), edges, tensor("targets", "INT64", (2,), [1, 6])])
        assert "targets[1] is 6, but there are 6 nodes" in error
        error = refused(d, 400, "POST", f"/v2/models/{GCN}/infer", [rows("x", x), edge_index([(0, 1), (2, 6)])])
        assert "edge_index[1][1] is 6, but there are 6 nodes" in error, error


def test_permuted_nodes():
    """Nodes in another order give the rows in that order, bit for bit: sums run in the order of edges."""
    with serving() as d:
        for net in PERMUTED:
            for n, e in ((1, 3), (2, 0), (5, 9), (17, 60), (40, 200)):
                x, edges = [vector() for _ in range(n)], [(RNG.randrange(n), RNG.randrange(n)) for _ in range(e)]
                order = RNG.sample(range(n), n)
                place = {node: at for at, node in enumerate(order)}
                plain, (_, width) = output(infer(d, net, [rows("x", x), edge_index(edges)]))
                moved, _ = output(infer(d, net, [rows("x", [x[i] for i in order]), edge_index([(place[a], place[b]) for a, b in edges])]))
                assert moved == [v for i in order for v in plain[i * width:(i + 1) * width]], (net, n, e)


def laplacian(n, edges, weights):
    a = [[0.0] * n for _ in range(n)]
    for (i, j), w in zip(edges, weights):
        a[i][j] += w / 2
        a[j][i] += w / 2
    d = [sum(row) for row in a]
    return [[(i == j) - (a[i][j] / math.sqrt(d[i] * d[j]) if d[i] and d[j] else 0) for j in range(n)] for i in range(n)]


def jacobi(a):
    """Eigenvalues and eigenvectors (columns) of a small symmetric matrix."""
    n = len(a)
    v = [[float(i == j) for j in range(n)] for i in range(n)]
    for _ in range(60):
        for p in range(n):
            for q in range(p + 1, n):
                if abs(a[p][q]) < 1e-15:
                    continue
                t = 0.5 * math.atan2(2 * a[p][q], a[q][q] - a[p][p])
                c, s = math.cos(t), math.sin(t)
                for m in (a, v):
                    for row in m:
                        row[p], row[q] = c * row[p] - s * row[q], s * row[p] + c * row[q]
                a[p], a[q] = [c * x - s * y for x, y in zip(a[p], a[q])], [s * x + c * y for x, y in zip(a[p], a[q])]
    return [a[i][i] for i in range(n)], v


def test_spectral():
    """U g(values) U^T x: the server's basis gives what another decomposition of the same Laplacian gives."""
    with serving("--graphs-max-spectral-nodes", "9") as d:
        n, edges = 7, [(RNG.randrange(6), RNG.randrange(6)) for _ in range(11)]
        weights = [RNG.randrange(1, 9) / 4 for _ in edges]
        x = [vector() for _ in range(n)]
        values, basis = jacobi(laplacian(n, edges, weights))
        want = output(infer(d, SPECTRAL, [rows("x", x), tensor("laplacian_basis", "FP32", (n, n), [v for r in basis for v in r]),
                                          tensor("laplacian_values", "FP32", (n,), values)]))
        good(d, "PUT", "/v2/graphs/s", [rows("x", x), edge_index(edges), tensor("edge_weight", "FP32", (len(edges),), weights)])
        got = output(infer(d, SPECTRAL, graph="s"))
        assert got[1] == want[1]
        near(got[0], want[0])
        assert output(infer(d, SPECTRAL, graph="s")) == got
        moved = [vector() for _ in range(n)]
        near(output(infer(d, SPECTRAL, [rows("x", moved)], graph="s"))[0],
             output(infer(d, SPECTRAL, [rows("x", moved), tensor("laplacian_basis", "FP32", (n, n), [v for r in basis for v in r]),
                                        tensor("laplacian_values", "FP32", (n,), values)]))[0])
        good(d, "PATCH", "/v2/graphs/s", [edge_index([(0, 6)], "add.edge_index"), tensor("add.edge_weight", "FP32", (1,), [2])])
        values, basis = jacobi(laplacian(n, edges + [(0, 6)], weights + [2]))
        near(output(infer(d, SPECTRAL, graph="s"))[0],
             output(infer(d, SPECTRAL, [rows("x", x), tensor("laplacian_basis", "FP32", (n, n), [v for r in basis for v in r]),
                                        tensor("laplacian_values", "FP32", (n,), values)]))[0])
        good(d, "PUT", "/v2/graphs/big", [rows("x", [vector() for _ in range(10)]), edge_index([(0, 1)])])
        error = refused(d, 413, "POST", f"/v2/models/{SPECTRAL}/infer", graph="big")
        assert "has 10 nodes; eigenvectors are computed for up to 9" in error, error


def ask(d, model, body, code=200):
    status, answer, _ = d.call("POST", f"/v2/models/{model}/infer", json.dumps(body))
    assert status == code, (status, answer)
    return json.loads(answer)


def node(i, features, kind="paper"):
    return {"node_type": kind, "node_id": i, "features": features}


def edge(kind, a, b, **features):
    return {"edge_type": kind, "src_node_id": a, "dest_node_id": b, "features": features}


def test_objects():
    """Typed nodes and edges as JSON objects: the numbers of the same graph as tensors, for each target."""
    with serving() as d:
        x = [vector() for _ in range(4)]
        cites = ["paper", "cites", "paper"]
        names = ["a", "b", 7, "d"]
        ends = [(0, 1), (2, 1), (3, 0), (3, 0)]
        whole, (_, width) = output(infer(d, GCN, [rows("x", x), edge_index(ends)]))
        body = {"version": "gs-realtime-v0.1", "gml_task": "node_classification", "request_uid": "r1",
                "graph": {"nodes": [node(names[i], {"x": x[i]}) for i in range(4)],
                          "edges": [edge(cites, names[a], names[b]) for a, b in ends]},
                "targets": [{"node_type": "paper", "node_id": 7}, {"node_type": "paper", "node_id": "a"}]}
        answer = ask(d, GCN, body)
        assert answer["status_code"] == 200 and answer["request_uid"] == "r1", answer
        got = answer["data"]["results"]
        assert [(r["node_type"], r["node_id"]) for r in got] == [("paper", 7), ("paper", "a")]
        assert [r["predictions"] for r in got] == [whole[i * width:(i + 1) * width] for i in (2, 0)]
        apart = dict(body, graph=dict(body["graph"], nodes=[node(names[i], {"u": x[i][0], "v": x[i][1:]}) for i in range(4)]))
        assert ask(d, GCN, apart)["data"] == answer["data"], "features of other names, one after the other"
        del apart["targets"]
        assert len(ask(d, GCN, apart)["data"]["results"]) == 4, "all nodes"
        mixed = [node(name, {"x": x[i]}) for i, name in enumerate(("a", "#7", 7, "=7"))]
        answer = ask(d, GCN, dict(apart, graph={"nodes": mixed, "edges": [edge(cites, "#7", 7), edge(cites, 7, "=7")]}))
        assert [r["node_id"] for r in answer["data"]["results"]] == ["a", "#7", 7, "=7"], "a text is no number"
        assert [v for r in answer["data"]["results"] for v in r["predictions"]] == \
            output(infer(d, GCN, [rows("x", x), edge_index([(1, 2), (2, 3)])]))[0]
        for value, code in ((1, 200), (1.5, 402), (1e300, 402)):
            kinds = {"nodes": [node("a", {"x": x[0]})], "edges": [edge(cites, "a", "a", edge_type=value)]}
            answer = ask(d, RGCN, {"graph": kinds}, 200 if code == 200 else 400)
            assert answer["status_code"] == code, answer
        assert "graph.edges[0] has 1e+300 for 'edge_type', want a whole number" in answer["error"], answer
        bad = [({"gml_task": "guess"}, 421, "gml_task 'guess'"), ({"targets": [{"node_type": "paper", "node_id": "z"}]}, 404,
               "targets[0]: there is no node of type 'paper' with the id 'z'"), ({"targets": [{}]}, 401, "targets[0]")]
        nodes, edges = body["graph"]["nodes"], body["graph"]["edges"]
        graphs = [({"nodes": nodes, "edges": [*edges, edge(cites, "a", "q")]}, 411, "graph.edges[4]: there is no node of type 'paper' "
                   "with the id 'q' (dest_node_id)"), ({"nodes": nodes}, 401, "'nodes' and 'edges'"),
                  ({"nodes": [*nodes[:3], node("d", {"x": [1, 2]})], "edges": edges}, 402,
                   "graph.nodes[3] ('d') has 2 numbers for 'x', want 6"),
                  ({"nodes": [*nodes[:3], node("d", {})], "edges": edges}, 402, "graph.nodes[3] ('d') has"),
                  ({"nodes": [node("d", {})], "edges": []}, 402, "graph.nodes[0] ('d') has no feature 'x' of numbers"),
                  ({"nodes": [*nodes, nodes[0]], "edges": edges}, 411, "graph.nodes[4] has the type and id of an earlier node"),
                  ({"nodes": [{"node_id": 1}], "edges": []}, 401, "graph.nodes[0] has no 'node_type'"),
                  ({"nodes": nodes, "edges": [{"edge_type": cites}]}, 401, "graph.edges[0] has no 'src_node_id'")]
        for change, code, text in bad + [({"graph": dict(g, edges=g.get("edges", 0))}, c, t) for g, c, t in graphs]:
            answer = ask(d, GCN, dict(body, **change), 400)
            assert answer["status_code"] == code and text in answer["error"], (text, answer)


def test_large_objects():
    """A graph as objects of 20 MB is read beside the loop: small requests are answered meanwhile, none of them waits for half
    of its time. And large requests about a registered graph, compressed or not."""
    n = 76000
    nodes = [{"node_type": "p", "node_id": i, "features": {"x": [0.25 * (i % 7)] * F}} for i in range(n)]
    links = [{"edge_type": ["p", "to", "p"], "src_node_id": i % n, "dest_node_id": (7 * i) % n, "features": {}} for i in range(2 * n)]
    objects = json.dumps({"graph": {"nodes": nodes, "edges": links}, "targets": [{"node_type": "p", "node_id": 3}]}).encode()
    assert len(objects) > 18 << 20
    x = [[0.25 * (i % 7)] * F for i in range(n)]
    by_name = json.dumps({"parameters": {"graph": "large"}, "inputs": [rows("x", x), tensor("nodes", "INT64", (1,), [3])]})
    with serving("--server-max-body", "64M", "--server-body-timeout", "300s", "--batching-request-timeout", "300s") as d:
        good(d, "PUT", "/v2/graphs/large", [edge_index([(i % n, (7 * i) % n) for i in range(2 * n)])], nodes=n)
        plain = output(json.loads(d.call("POST", f"/v2/models/{GCN}/infer", by_name)[1]))
        packed = d.call("POST", f"/v2/models/{GCN}/infer", gzip.compress(by_name.encode(), 1), {"Content-Encoding": "gzip"})
        assert packed[0] == 200 and output(json.loads(packed[1])) == plain, packed[1][:200]

        connection = d.connect()
        connection.putrequest("POST", f"/v2/models/{GCN}/infer")
        connection.putheader("Content-Length", str(len(objects)))
        connection.endheaders(objects[:-1])
        small, waits = [rows("x", x[:2]), edge_index([(0, 1)])], []
        infer(d, "small", small)
        begin = time.monotonic()
        connection.send(objects[-1:])
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            large = pool.submit(connection.getresponse)
            while not large.done():
                at = time.monotonic()
                infer(d, "small", small)
                waits.append(time.monotonic() - at)
                time.sleep(0.002)
            took = time.monotonic() - begin
            answer = json.loads(large.result().read())
        assert "data" in answer and "results" in answer["data"], str(answer)[:300]
        near(answer["data"]["results"][0]["predictions"], plain[0])
        print(f"     {len(objects) >> 20} MiB took {took:.2f} s; {len(waits)} small requests meanwhile, the slowest {max(waits):.3f} s")
        assert max(waits) < took / 2, "a small request waited for a large one to be read"


def test_types():
    """A model of two node types and three relations: on a registered graph, and as objects; PyTorch's answers."""
    inputs, (want,) = golden.case(HETERO)
    width = want.shape[1]
    with serving() as d:
        good(d, "PUT", "/v2/graphs/library", [t.as_input() for t in inputs])
        answer = infer(d, HETERO, graph="library")
        assert golden.difference(answer["outputs"][0], want) <= 1e-5
        papers, authors, *edges = inputs
        typed_nodes(d, inputs)
        nodes = [node(f"p{i}", {"x": papers.values[6 * i:6 * i + 6]}) for i in range(papers.shape[0])]
        nodes += [node(i, {"x": authors.values[3 * i:3 * i + 3]}, "author") for i in range(authors.shape[0])]
        links = []
        for t in edges:
            kind, n = t.name.split(".")[:3], t.shape[1]
            ids = [(lambda i, k=k: f"p{i}" if k == "paper" else i) for k in (kind[0], kind[2])]
            links += [edge(kind, ids[0](a), ids[1](b)) for a, b in zip(t.values[:n], t.values[n:])]
        body = {"graph": {"nodes": nodes, "edges": links}, "targets": [{"node_type": "paper", "node_id": "p3"}]}
        got = ask(d, HETERO, body)["data"]["results"]
        near(got[0]["predictions"], want.values[3 * width:4 * width])
        assert "the model has several types" in ask(d, HETERO, {"graph": body["graph"]}, 400)["error"]
        venue = {"graph": {"nodes": [node(1, {}, "venue")], "edges": []}, "targets": [{"node_type": "venue", "node_id": 1}]}
        assert "graph.nodes[0]: the model has no nodes of type 'venue'" in ask(d, HETERO, venue, 400)["error"]


def typed_nodes(d, inputs):
    """Nodes of a type, by index and by id, where there are as many of each: rows are chosen by what they are rows of."""
    papers, authors, *edges = inputs
    n = papers.shape[0]
    names = [tensor(f"{t}.id", "BYTES", (n,), [f"{t[0]}{i}" for i in range(n)]) for t in ("paper", "author")]
    more = [0.5] * (n - authors.shape[0]) * authors.shape[1]
    writers = tensor("author.x", "FP32", (n, authors.shape[1]), list(authors.values) + more)
    good(d, "PUT", "/v2/graphs/equal", [papers.as_input(), writers, *(t.as_input() for t in edges), *names])
    whole, (_, width) = output(infer(d, HETERO, graph="equal"))
    rows_of = [v for i in (4, 1) for v in whole[i * width:(i + 1) * width]]
    for who in (tensor("paper.nodes", "INT64", (2,), [4, 1]), tensor("paper.targets", "BYTES", (2,), ["p4", "p1"])):
        assert output(infer(d, HETERO, [who], graph="equal")) == (rows_of, [2, width])
    writer = tensor("author.nodes", "BYTES", (1,), ["a1"])
    assert output(infer(d, HETERO, [writer], graph="equal"))[0] == whole, "no rows of authors"
    for who, text in ((tensor("nodes", "INT64", (1,), [0]), "have types: say which, as in 'paper.nodes'"),
                      (tensor("author.nodes", "BYTES", (1,), ["p1"]), "graph 'equal' has no node 'p1'"),
                      (tensor("venue.nodes", "INT64", (1,), [0]), "has no nodes of type 'venue'")):
        error = refused(d, 400, "POST", f"/v2/models/{HETERO}/infer", [who], graph="equal")
        assert text in error, error
    ctl = [sys.argv[2], "--server", f"http://127.0.0.1:{d.port}", "infer", HETERO, "--graph", "equal", "--nodes", 'paper=["p4","p1"]']
    assert output(json.loads(subprocess.run(ctl, capture_output=True, check=True).stdout)) == (rows_of, [2, width])


def test_typed_features_of_the_moment():
    """Edges of three types between nodes of two are registered, features come with requests; edges and nodes come and go. The
    bits are those of a request that brings the edges, too."""
    n = {"paper": 12, "author": 8}
    ends = {t: [(RNG.randrange(n[t.split(".")[0]]), RNG.randrange(n[t.split(".")[2]])) for _ in range(40)]
            for t in ("paper.cites.paper", "author.writes.paper", "paper.written_by.author")}

    def ids(kind, begin, name):
        return tensor(name, "BYTES", (n[kind] - begin,), [f"{kind}{i}" for i in range(begin, n[kind])])
    with serving() as d:
        good(d, "PUT", "/v2/graphs/typed", [ids(k, 0, f"{k}.id") for k in n] + [edge_index(e, f"{t}.edge_index") for t, e in ends.items()])
        for turn in range(30):
            x = [tensor(f"{k}.x", "FP32", (n[k], w), [single(RNG.random() - 0.5) for _ in range(n[k] * w)])
                 for k, w in (("paper", 6), ("author", 3))]
            assert output(infer(d, HETERO, x, graph="typed")) == \
                output(infer(d, HETERO, x + [edge_index(e, f"{t}.edge_index") for t, e in ends.items()])), turn
            kind, (t, e) = RNG.choice(list(n)), RNG.choice(list(ends.items()))
            if turn % 3 == 0:
                n[kind] += 1
                good(d, "PATCH", "/v2/graphs/typed", [ids(kind, n[kind] - 1, f"add.{kind}.id")])
            elif turn % 3 == 1:
                gone = RNG.choice(e)
                ends[t] = [pair for pair in e if pair != gone]
                good(d, "PATCH", "/v2/graphs/typed", [edge_index([gone], f"remove.{t}.edge_index")])
            else:
                new = [(RNG.randrange(n[t.split(".")[0]]), RNG.randrange(n[t.split(".")[2]])) for _ in range(3)]
                ends[t] = e + new
                good(d, "PATCH", "/v2/graphs/typed", [edge_index(new, f"add.{t}.edge_index")])
        text = d.call("GET", "/metrics")[1].decode()
        counts = [int(line.split()[-1]) for o in ("followed", "anew") for line in text.splitlines()
                  if line.startswith(f'recurd_graph_updates_total{{outcome="{o}"}}')]
        assert counts[0] > counts[1], counts


def test_node_states_follow_changes():
    for cell, net in CELLS.items():
        follow_changes(cell, net)


def follow_changes(cell, net):
    """Steps on a registered graph that changes between them: each step has the bits of a request that brings that graph and
    the state itself. A graph with another number of nodes is refused, and nothing is stepped."""
    (_, edges, weights, _), _ = golden.case(net, 0)
    n, at = 6, len(edges.values) // 2
    ends = list(zip(edges.values[:at], edges.values[at:]))
    strength = list(weights.values)
    with serving() as d:
        ids = tensor("id", "BYTES", (n,), [f"n{i}" for i in range(n)])
        good(d, "PUT", "/v2/graphs/moving", [ids, edges.as_input(), weights.as_input()])
        state = [0.0] * (5 * n)
        for t in range(12):
            if t > 0:
                gone = RNG.randrange(len(ends))
                come, weight = (RNG.randrange(n), RNG.randrange(n)), single(RNG.uniform(0.1, 1))
                pair = ends[gone]
                strength = [w for e, w in zip(ends, strength) if e != pair] + [weight]
                ends = [e for e in ends if e != pair] + [come]
                good(d, "PATCH", "/v2/graphs/moving",
                     [edge_index([pair], "remove.edge_index"), edge_index([come], "add.edge_index"),
                      tensor("add.edge_weight", "FP32", (1,), [weight])])
            x = rows("x", [vector() for _ in range(n)])
            answer = infer(d, cell, [x], graph="moving", sequence_id=7, sequence_start=t == 0)
            assert answer["parameters"]["graph_version"] == t + 1
            got = good(d, "GET", f"/v2/models/{cell}/sessions/7/state")["outputs"][0]["data"]
            whole = [x, edge_index(ends), tensor("edge_weight", "FP32", (len(ends),), strength), tensor("h", "FP32", (n, 5), state)]
            want, _ = output(infer(d, cell, whole))
            assert got == want, t
            state = got
        for change, nodes in ((tensor("remove.nodes", "BYTES", (1,), ["n5"]), 5), (tensor("add.id", "BYTES", (1,), ["n6"]), 6)):
            assert good(d, "PATCH", "/v2/graphs/moving", [change])["nodes"] == {"": nodes}
            x = rows("x", [vector() for _ in range(nodes)])
            if nodes == n:
                infer(d, cell, [x], graph="moving", sequence_id=7)
                continue
            error = refused(d, 409, "POST", f"/v2/models/{cell}/infer", [x], graph="moving", sequence_id=7)
            assert "state 'h' of 6 nodes" in error and "graph 'moving' version 13 has 5" in error, error
            assert good(d, "GET", f"/v2/models/{cell}/sessions/7/state")["outputs"][0]["data"] == state, "nothing was stepped"


def test_node_states():
    """A T-GCN step by step on a registered graph: PyTorch's states, kept per node."""
    steps = [golden.case(CELL, t) for t in range(4)]
    (_, edges, weights, _), _ = steps[0]
    with serving() as d:
        good(d, "PUT", "/v2/graphs/roads", [edges.as_input(), weights.as_input()], nodes=6)
        for t, (inputs, (want,)) in enumerate(steps):
            answer = infer(d, "cell", [inputs[0].as_input()], graph="roads", sequence_id="day", sequence_start=t == 0, step=t + 1)
            assert answer["parameters"]["graph_version"] == 1
            state = good(d, "GET", "/v2/models/cell/sessions/day/state")["outputs"][0]
            assert state["name"] == "h" and state["shape"] == [6, 5], state
            near(state["data"], want.values)
            assert output(answer) == (state["data"], [6, 5]), "a cell that has no other output says its state"
        before = good(d, "GET", "/v2/models/cell/sessions/day/state")["outputs"][0]
        good(d, "PUT", "/v2/graphs/grown", [edges.as_input(), weights.as_input(), rows("x", [vector() for _ in range(7)])])
        error = refused(d, 409, "POST", "/v2/models/cell/infer", graph="grown", sequence_id="day")
        assert "state 'h' of 6 nodes" in error and "graph 'grown' version 1 has 7" in error, error
        assert good(d, "GET", "/v2/models/cell/sessions/day/state")["outputs"][0] == before, "nothing was stepped"
        good(d, "PUT", "/v2/graphs/bare", [edges.as_input(), weights.as_input()], nodes=8)
        error = refused(d, 409, "POST", "/v2/models/cell/infer", [steps[0][0][0].as_input()], graph="bare", sequence_id="day")
        assert "graph 'bare' version 1 has 8" in error, error
        more = [edge_index([(0, 5)], "add.edge_index"), tensor("add.edge_weight", "FP32", (1,), [0.5])]
        assert good(d, "PATCH", "/v2/graphs/roads", more)["version"] == 2
        answer = infer(d, "cell", [steps[0][0][0].as_input()], graph="roads", sequence_id="day", step=5)
        assert answer["parameters"]["graph_version"] == 2, "edges may come and go in mid-session"


if __name__ == "__main__":
    with daemon.Repository(POOL, SPECTRAL, HETERO, RGCN, *PERMUTED) as serving.repository:
        serving.repository.add(GCN, "small")
        for cell, net in CELLS.items():
            serving.repository.add(net, cell)
            (serving.repository.path / cell / "model.json").write_text(
                json.dumps({"state": [{"input": "h", "output": "y", "shape": [6, 5]}]}))
        daemon.main(globals())

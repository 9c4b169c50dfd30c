"""test_graphs.py - graphs that the server keeps, and inference on them.

usage: test_graphs.py RECURD. The networks are golden ones of PyTorch Geometric (tests/golden/gen/graphs.py)."""

import json
import os
import pathlib
import shutil
import signal
import tempfile

import daemon
from graph_client import (F, GAE, GCN, LOST, POOL, RNG, TGCN, Crowd, Graph, edge_index, good, infer, output, read, refused, rows, send,
                          serving, tensor, vector)


class State:
    """A state directory, gone at the end."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="recurd-graphs-"))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path)


def test_register_describe_list_remove():
    with serving() as d:
        g = Graph(5, 7)
        made = good(d, "PUT", "/v2/graphs/a", g.inputs())
        assert made["version"] == 1 and made["nodes"] == {"": 5} and made["edges"] == {"": 7}, made
        assert {t["name"] for t in made["tensors"]} == {"x", "id", "edge_index", "edge_weight"}
        g.check(d, "a")
        u = Graph(4, 5, undirected=True)
        good(d, "PUT", "/v2/graphs/b", u.inputs(), undirected=True)
        u.check(d, "b")
        assert [x["name"] for x in good(d, "GET", "/v2/graphs")["graphs"]] == ["a", "b"]
        page = good(d, "GET", "/v2/graphs?limit=1")
        assert page["total"] == 2 and page["next"] == "a"
        assert [x["name"] for x in good(d, "GET", "/v2/graphs?after=a")["graphs"]] == ["b"]
        assert good(d, "PUT", "/v2/graphs/a", Graph(3, 2).inputs())["version"] == 2, "a new graph, a later version"
        good(d, "DELETE", "/v2/graphs/a")
        refused(d, 404, "GET", "/v2/graphs/a")
        refused(d, 404, "DELETE", "/v2/graphs/a")
        refused(d, 404, "PATCH", "/v2/graphs/a", [rows("add.x", [vector()])])


def test_types():
    with serving() as d:
        inputs = [tensor("author.x", "FP32", (2, 1), [1, 2]), tensor("paper.x", "FP32", (3, 1), [1, 2, 3]),
                  tensor("author.writes.paper.edge_index", "INT64", (2, 2), [0, 1, 2, 2])]
        made = good(d, "PUT", "/v2/graphs/t", inputs)
        assert made["nodes"] == {"author": 2, "paper": 3} and made["edges"] == {"author.writes.paper": 2}
        inputs[2]["data"] = [0, 2, 2, 2]
        error = refused(d, 400, "PUT", "/v2/graphs/t", inputs)
        assert "author.writes.paper.edge_index[0][1] is 2" in error and "2 nodes of type author" in error, error
        good(d, "PATCH", "/v2/graphs/t", [tensor("remove.paper.nodes", "INT64", (1,), [0])])
        assert read(d, "t")["author.writes.paper.edge_index"][2] == [0, 1, 1, 1]
        error = refused(d, 400, "PATCH", "/v2/graphs/t",
                        [edge_index([(1, 0)], "remove.author.writes.paper.edge_index")])
        assert "no edge author.writes.paper from 1 to 0" in error, error
        inputs[2]["data"] = [0, 1, 1, 0]  # both ways round there would be nodes of these numbers
        error = refused(d, 400, "PUT", "/v2/graphs/u", inputs, undirected=True)
        assert "author.writes.paper.edge_index' goes from author to paper" in error, error
        inputs[2] = edge_index([(0, 1)], "paper.cites.paper.edge_index")
        good(d, "PUT", "/v2/graphs/u", inputs, undirected=True)
        assert read(d, "u")["paper.cites.paper.edge_index"][2] == [0, 1, 1, 0]
        error = refused(d, 400, "PATCH", "/v2/graphs/u", [edge_index([(0, 1)], "add.author.writes.paper.edge_index")])
        assert "goes from author to paper" in error, error


def test_refusals():
    with serving("--graphs-max-graphs", "2", "--graphs-max-bytes", "4K") as d:
        x, ok = rows("x", [vector() for _ in range(3)]), edge_index([(0, 1), (1, 2)])
        good(d, "PUT", "/v2/graphs/g", [x, ok])
        cases = [
            ([x, edge_index([(0, 1), (1, 3)])], "edge_index[1][1] is 3, but there are 3 nodes"),
            ([edge_index([(0, 1), (2 ** 63 - 1, 2)])], "edge_index[0][1] is 9223372036854775807, but a node's index is below 2147483647"),
            ([tensor("x", "FP32", (2 ** 40, 0), [])], "'x' has 1099511627776 rows, want at most 2147483647"),
            ([x, edge_index([(-1, 1)])], "edge_index[0][0] is -1, but nodes count from 0"),
            ([x, ok, tensor("edge_weight", "FP32", (3,), [1, 2, 3])],
             "'edge_weight' is FP32 [3], want FP32 [2]: a row for every edge"),
            ([x, ok, tensor("edge_weight", "FP32", (2,), [1, "NaN"])], "'edge_weight': data[1] is \"NaN\""),
            ([x, ok, tensor("y", "FP32", (2,), [1, 2])], "'y' has 2 rows, want 3"),
            ([x, tensor("edge_weight", "FP32", (1,), [1])], "'edge_index' is missing"),
            ([x, ok, tensor("id", "BYTES", (3,), ["a", "b", "a"])], "nodes 0 and 2 have the same id 'a'"),
            ([x, edge_index([("a", "q")], datatype="BYTES"), tensor("id", "BYTES", (3,), list("abc"))],
             "edge_index[1][0]: graph 'h' has no node 'q'"),
            ([x, edge_index([("a", "b")], datatype="BYTES")], "no ids"),
            ([x, tensor("edge_index", "FP32", (2, 1), [0, 1])], "want INT64 or BYTES [2,edges]"),
            ([x, x, ok], "is there twice"),
            ([], "needs tensors"),
        ]
        for inputs, text in cases:
            error = refused(d, 400, "PUT", "/v2/graphs/h", inputs)
            assert text in error, (text, error)
        assert "must be true or false" in refused(d, 400, "PUT", "/v2/graphs/h", [x, ok], undirected=1)
        assert "must be an integer from 0" in refused(d, 400, "PUT", "/v2/graphs/h", [ok], nodes=-1)
        assert "'nodes' is 4, but 'x' has 3 rows" in refused(d, 400, "PUT", "/v2/graphs/h", [x, ok], nodes=4)
        assert "'add.x' is of a change" in refused(d, 400, "PUT", "/v2/graphs/h", [rows("add.x", [vector()])])
        error = refused(d, 400, "PUT", "/v2/graphs/h", [edge_index([(0, 1), (7, 2)])], undirected=True, nodes=4)
        assert "edge_index[0][1] is 7, but there are 4 nodes" in error, error
        refused(d, 400, "PUT", "/v2/graphs/.h", [x, ok])
        refused(d, 400, "PUT", "/v2/graphs/h%2fi", [x, ok])
        refused(d, 413, "PUT", "/v2/graphs/h", [rows("x", [vector() for _ in range(300)])])
        good(d, "PUT", "/v2/graphs/i", [x, ok])
        refused(d, 503, "PUT", "/v2/graphs/j", [x, ok])
        for inputs, text in [([], "a change needs tensors"),
                             ([edge_index([(0, 2)], "remove.edge_index")], "no edge from 0 to 2"),
                             ([tensor("remove.nodes", "INT64", (1,), [3])], "has no node 3"),
                             ([rows("set.x", [vector()])], "needs 'set.nodes'"),
                             ([tensor("set.nodes", "INT64", (1,), [0])], "'set.nodes' needs rows to set beside it: set.NAME"),
                             ([rows("remove.x", [vector()])], "'remove.x': what can be removed is"),
                             ([tensor("remove.paper.nodes", "INT64", (1,), [0])], "has no nodes of type 'paper'"),
                             ([tensor("add.edge_weight", "FP32", (1,), [1])], "'add.edge_weight' needs 'add.edge_index'"),
                             ([rows("x", [vector()])], "'x' is not known in a change"),
                             ([tensor("add.x", "FP32", (1, 2), [1, 2])], "'add.x' is FP32 [1,2], want FP32 [1,6]"),
                             ([edge_index([(0, 3)], "add.edge_index")], "add.edge_index[1][0] is 3, but there are 3 nodes"),
                             ([tensor("set.nodes", "INT64", (1,), [1]), tensor("set.x", "INT64", (1, 6), [1] * 6)],
                              "'set.x' is INT64 [1,6], want FP32 [1,6]")]:
            error = refused(d, 400, "PATCH", "/v2/graphs/g", inputs)
            assert text in error, (text, error)
        good(d, "PUT", "/v2/graphs/i", [x, ok, tensor("id", "BYTES", (3,), ["a", "b", "c"])])
        for inputs, text in [([rows("add.x", [vector()])], "'add.id' is missing: the nodes of 'add.x' need one"),
                             ([edge_index([("a", "q")], "add.edge_index", "BYTES")],
                              "add.edge_index[1][0]: graph 'i' has no node 'q'")]:
            error = refused(d, 400, "PATCH", "/v2/graphs/i", inputs)
            assert text in error, (text, error)
        assert good(d, "GET", "/v2/graphs/g")["version"] == 1, "nothing has changed"
        body = json.dumps({"inputs": [rows("add.x", [vector()])]})
        assert d.call("PATCH", "/v2/graphs/g", body, {"If-Match": "2"})[0] == 409
        assert d.call("PATCH", "/v2/graphs/g", body, {"If-Match": "1"})[0] == 200
        assert d.call("PUT", "/v2/graphs/g", json.dumps({"inputs": [x, ok]}), {"If-Match": "1"})[0] == 409
        assert d.call("DELETE", "/v2/graphs/g", None, {"If-Match": "1"})[0] == 409
        assert d.call("DELETE", "/v2/graphs/g", None, {"If-Match": "one"})[0] == 400
        assert d.call("DELETE", "/v2/graphs/g", None, {"If-Match": "2"})[0] == 204


def test_random_changes():
    """Each version is what it should be, and so are the answers: those of a graph inside the request, bit for bit."""
    with serving() as d:
        for undirected in (False, True):
            g = Graph(6, 9, undirected)
            good(d, "PUT", "/v2/graphs/r", g.inputs(), undirected=undirected)
            for _ in range(40):
                inputs = g.change()
                if not inputs:
                    continue
                good(d, "PATCH", "/v2/graphs/r", inputs)
                g.check(d, "r")
                whole, shape = output(infer(d, GCN, graph="r"))
                assert (whole, shape) == output(infer(d, GCN, g.plain()))
                width = shape[1]
                who = [RNG.randrange(len(g.x)) for _ in range(3)]
                picked = tensor("nodes", "BYTES", (3,), [g.ids[i] for i in who])
                want = [v for i in who for v in whole[i * width:(i + 1) * width]]
                assert output(infer(d, GCN, [picked], graph="r"))[0] == want


def test_links_and_pools():
    with serving() as d:
        g = Graph(8, 12)
        good(d, "PUT", "/v2/graphs/l", g.inputs())
        pairs = [(0, 1), (3, 7), (2, 2)]
        want = output(infer(d, GAE, [*g.plain(), edge_index(pairs, "pairs")]))
        assert want == output(infer(d, GAE, [edge_index(pairs, "pairs")], graph="l"))
        named = edge_index([(g.ids[a], g.ids[b]) for a, b in pairs], "pairs", "BYTES")
        assert want == output(infer(d, GAE, [named], graph="l"))
        batch = tensor("batch", "INT64", (8,), [0, 0, 0, 1, 1, 1, 1, 2])
        assert output(infer(d, POOL, [*g.plain(), batch])) == output(infer(d, POOL, [batch], graph="l"))
        moved = rows("x", [vector() for _ in range(8)])
        assert output(infer(d, GCN, [moved], graph="l")) == output(infer(d, GCN, [moved, g.plain()[1]])), \
            "what the request gives goes before what the graph has"
        error = refused(d, 400, "POST", f"/v2/models/{GAE}/infer", graph="l")
        assert "'pairs' is neither in the request nor in graph 'l'" in error
        assert "no graph 'm'" in refused(d, 404, "POST", f"/v2/models/{GCN}/infer", graph="m")
        assert "has no node 8" in refused(d, 400, "POST", f"/v2/models/{GCN}/infer",
                                          [tensor("nodes", "INT64", (1,), [8])], graph="l")
        answer = infer(d, GCN, graph="l", graph_version=1)
        assert answer["parameters"] == {"graph": "l", "graph_version": 1}
        refused(d, 409, "POST", f"/v2/models/{GCN}/infer", graph="l", graph_version=2)
        good(d, "PATCH", "/v2/graphs/l", [edge_index([g.edges[0]], "remove.edge_index")])
        refused(d, 410, "POST", f"/v2/models/{GCN}/infer", graph="l", graph_version=1)
        refused(d, 400, "POST", f"/v2/models/{GCN}/infer", g.plain(), graph_version=1)


def test_second_query_is_a_look_up():
    with serving() as d:
        good(d, "PUT", "/v2/graphs/c", Graph(5, 5).inputs())
        for _ in range(5):
            infer(d, GCN, graph="c")
        text = d.call("GET", "/metrics")[1].decode()
        figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("recurd_graph"))
        assert figures["recurd_graphs"] == "1" and int(figures["recurd_graphs_bytes"]) > 0, figures
        assert figures['recurd_graph_results_total{outcome="miss"}'] == "1", figures
        assert figures['recurd_graph_results_total{outcome="hit"}'] == "4", figures


def test_crowd_with_changes():
    """Queries and changes at the same time: an answer is one version's, wholly."""
    with serving() as d:
        g = Graph(20, 40)
        good(d, "PUT", "/v2/graphs/w", g.inputs())
        wants, crowd = {1: output(infer(d, GCN, g.plain()))[0]}, Crowd(d, "w", 4, 25)
        for version in range(2, 12):
            i = RNG.randrange(20)
            g.x[i] = vector()
            made = good(d, "PATCH", "/v2/graphs/w", [tensor("set.nodes", "INT64", (1,), [i]), rows("set.x", [g.x[i]])])
            assert made["version"] == version
            wants[version] = output(infer(d, GCN, g.plain()))[0]
        seen = crowd.answers()
        assert len(seen) == 100 and all(wants[v] == y for v, y in seen)


def test_lost_edges_are_warned_of():
    """A file that overwrites where it should add: told in the log, the metadata and the plan; run as it is written."""
    with serving() as d:
        assert f"{LOST} version 1: node '/ScatterElements' (ScatterElements): scatters by indices of the request" in d.logged()
        warnings = good(d, "GET", f"/v2/models/{LOST}")["recurd"]["warnings"]
        assert len(warnings) == 1 and "opset_version=18" in warnings[0], warnings
        assert "warning: node '/ScatterElements'" in d.call("GET", f"/v2/models/{LOST}/plan")[1].decode()
        assert good(d, "GET", f"/v2/models/{GCN}")["recurd"]["warnings"] == []
        x = rows("x", [vector() for _ in range(3)])
        one, two = edge_index([(0, 2)]), edge_index([(1, 2), (0, 2)])
        assert output(infer(d, LOST, [x, one])) == output(infer(d, LOST, [x, two])), "the last edge stays"


def test_kill():
    """What was acknowledged is there after kill -9; a damaged file is set aside and reported."""
    with State() as state:
        g = Graph(6, 9)
        for turn in range(4):
            with serving("--state-dir", str(state)) as d:
                if turn == 0:
                    good(d, "PUT", "/v2/graphs/k", g.inputs())
                    good(d, "PUT", "/v2/graphs/other", Graph(2, 1).inputs())
                g.check(d, "k")
                for _ in range(3):
                    inputs = g.change()
                    if inputs:
                        good(d, "PATCH", "/v2/graphs/k", inputs)
                want = output(infer(d, GCN, g.plain()))
                assert want == output(infer(d, GCN, graph="k"))
                d.send(signal.SIGKILL)
                d.wait()
        path = state / "graphs" / "k.graph"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        (state / "graphs" / "short.graph").write_bytes(b"RCDGRPH1")
        with serving("--state-dir", str(state)) as d:
            assert [x["name"] for x in good(d, "GET", "/v2/graphs")["graphs"]] == ["other"]
            assert "set aside as k.graph.damaged-" in d.logged()
        left = sorted(os.listdir(state / "graphs"))
        assert any(n.startswith("k.graph.damaged-") for n in left) and "other.graph" in left, left


def test_changes_on_disk():
    """A change costs its own bytes on disk; a torn one at the end is left out, a damaged one set aside with all that
    follows it, and changes that have grown large become a new file."""
    with State() as state:
        folder, g = state / "graphs", Graph(50, 300)
        def restart():
            with serving("--state-dir", str(state)) as d:
                return good(d, "GET", "/v2/graphs/k")["version"], read(d, "k")["x"][2], d.logged()
        with serving("--state-dir", str(state)) as d:
            good(d, "PUT", "/v2/graphs/k", g.inputs())
            whole = (folder / "k.graph").read_bytes()
            ends = []
            for _ in range(4):
                g.x[0] = vector()
                good(d, "PATCH", "/v2/graphs/k", [tensor("set.nodes", "INT64", (1,), [0]), rows("set.x", [g.x[0]])])
                ends.append((folder / "k.changes").stat().st_size)
            d.send(signal.SIGKILL)
            d.wait()
        assert (folder / "k.graph").read_bytes() == whole and ends[0] < 1000 and ends[3] == 4 * ends[0], ends
        flat = [v for row in g.x for v in row]
        assert restart()[:2] == (5, flat)
        changes = (folder / "k.changes").read_bytes()
        (folder / "k.changes").write_bytes(changes + changes[:ends[0] // 2])
        version, x, log = restart()
        assert (version, x) == (5, flat) and "torn" in log, log
        assert (folder / "k.changes").read_bytes() == changes
        (folder / "k.changes").write_bytes(changes[:-3])
        assert restart()[0] == 4
        damaged = bytearray(changes)
        damaged[ends[0] + 100] ^= 1
        (folder / "k.changes").write_bytes(damaged)
        version, _, log = restart()
        assert version == 2 and "set aside as k.changes.damaged-" in log, (version, log)
        assert not (folder / "k.changes").exists() and restart()[0] == 2
        with serving("--state-dir", str(state)) as d:
            big = Graph(9000, 3)
            big.x = [[float(i)] * F for i in range(9000)]
            good(d, "PATCH", "/v2/graphs/k", [tensor("remove.nodes", "INT64", (49,), list(range(1, 50)))])
            for at in range(0, 9000, 3000):
                ids = [f"b{i}" for i in range(at, at + 3000)]
                good(d, "PATCH", "/v2/graphs/k", [rows("add.x", big.x[at:at + 3000]), tensor("add.id", "BYTES", (3000,), ids)])
            assert (folder / "k.graph").stat().st_size < 100_000 < (folder / "k.changes").stat().st_size
            for _ in range(12):
                good(d, "PATCH", "/v2/graphs/k", [tensor("set.nodes", "INT64", (3000,), list(range(1, 3001))),
                                                  rows("set.x", big.x[:3000])])
            assert (folder / "k.graph").stat().st_size > 200_000, "written anew"
            good(d, "DELETE", "/v2/graphs/k")
            assert not [n for n in os.listdir(folder) if n in ("k.graph", "k.changes")]
        (folder / "k.changes").write_bytes(changes)  # as if the process had ended in the middle of that
        with serving("--state-dir", str(state)) as d:
            assert "set aside as k.changes.damaged-" in d.logged(), d.logged()
            assert not (folder / "k.changes").exists()


if __name__ == "__main__":
    with daemon.Repository(LOST, GCN, GAE, TGCN, POOL) as serving.repository:
        daemon.main(globals())

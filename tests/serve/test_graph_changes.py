"""test_graph_changes.py - results that follow the changes of a graph, and the streams that tell of them.

usage: test_graph_changes.py RECURD. Graphs and changes are those of graph_client.py."""

import http.client
import json
import pathlib
import shutil

import daemon
from graph_client import (F, GAE, GCN, RNG, Crowd, Graph, edge_index, good, infer, output, read, refused, rows, serving,
                          tensor, vector)

GAT, SAGE, PAIRS = "graph_gat_ts18", "graph_sage_mean_ts18", "graph_written_pairs_ts18"
WAIT_S = 60


def metric(d, name, **labels):
    wanted = name + ("{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}" if labels else "")
    for line in d.call("GET", "/metrics")[1].decode().splitlines():
        if line.startswith(wanted + " "):
            return int(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no metric {wanted}")


class Events:
    """A stream; next() is the next event: (name, data)."""

    def __init__(self, d, path):
        self.connection = http.client.HTTPConnection("127.0.0.1", d.port, timeout=WAIT_S)
        self.connection.request("GET", path)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, (self.answer.status, self.answer.read())
        assert self.answer.headers["Content-Type"] == "text/event-stream"

    def next(self):
        name = data = None
        while True:
            line = self.answer.readline().decode()
            if not line:
                return None, None
            if line.startswith("event: "):
                name = line[7:].strip()
            elif line.startswith("data: "):
                data = json.loads(line[6:])
            elif line == "\n" and name is not None:
                return name, data

    def close(self):
        self.connection.close()


class Mirror:
    """The whole output, kept by a stream alone."""

    def __init__(self, values, shape):
        self.rows = [values[i * shape[1]:(i + 1) * shape[1]] for i in range(shape[0])]

    def take(self, data, n_rows):
        outputs = {t["name"]: t for t in data["outputs"]}
        width = outputs["y"]["shape"][1]
        self.rows = self.rows[:n_rows] + [None] * (n_rows - len(self.rows))
        for k, i in enumerate(outputs["nodes"]["data"]):
            self.rows[i] = outputs["y"]["data"][k * width:(k + 1) * width]
        return outputs

    def flat(self):
        return [v for row in self.rows for v in row]


def test_results_follow():
    """Every answer has the bits of the graph in the request, and most versions are made from the one before."""
    with serving() as d:
        for undirected in (False, True):
            g = Graph(60, 90, undirected)
            name = f"f{int(undirected)}"
            good(d, "PUT", f"/v2/graphs/{name}", g.inputs(), undirected=undirected)
            for turn in range(25):
                for model in (GCN, SAGE, GAT):
                    assert output(infer(d, model, graph=name)) == output(infer(d, model, g.plain())), (model, turn)
                pairs = edge_index([(0, 1), (2, 2), (1, 5)], "pairs")
                assert output(infer(d, GAE, [pairs], graph=name)) == output(infer(d, GAE, [*g.plain(), pairs]))
                inputs = []
                while not inputs:
                    inputs = g.change()
                good(d, "PATCH", f"/v2/graphs/{name}", inputs)
        followed = metric(d, "recurd_graph_updates_total", outcome="followed")
        anew = metric(d, "recurd_graph_updates_total", outcome="anew")
        assert followed > anew > 0, (followed, anew)


def test_features_of_the_moment():
    """Requests that bring x: edges are sorted, with loops and degrees, once for each version, since the graph tells how many
    rows x has. The bits are those of a request that brings the graph, too, whatever has changed."""
    n, ids, ends = 2000, [f"n{i}" for i in range(2000)], [(RNG.randrange(2000), RNG.randrange(2000)) for _ in range(9000)]
    x = [vector() for _ in range(n + 1)]
    with serving() as d:
        good(d, "PUT", "/v2/graphs/m", [tensor("id", "BYTES", (n,), ids), edge_index(ends)])
        assert output(infer(d, GCN, [rows("x", x)], graph="m")) == output(infer(d, GCN, [rows("x", x), edge_index(ends)])), \
            "another number of rows than the graph has nodes is the model's affair"
        edges_alone = metric(d, "recurd_graph_results_bytes")
        for shift in range(3):
            moved = rows("x", x[shift:n] + x[:shift])
            assert output(infer(d, GCN, [moved], graph="m")) == output(infer(d, GCN, [moved, edge_index(ends)]))
        kept = metric(d, "recurd_graph_results_bytes") - edges_alone
        assert kept > 4 * (n + 2 * (n + len(ends))), (kept, "rows, sorted edges and their factors, loops with them")
        assert metric(d, "recurd_graph_results_total", outcome="miss") == 2
        good(d, "PUT", "/v2/graphs/f", [rows("x", x[:n]), rows("weight", x[:n]), edge_index(ends)])
        first = output(infer(d, GCN, [moved], graph="f"))
        anew = metric(d, "recurd_graph_updates_total", outcome="anew")
        for _ in range(4):
            good(d, "PATCH", "/v2/graphs/f", [tensor("set.nodes", "INT64", (1,), [7]), rows("set.x", [vector()]),
                                              rows("set.weight", [vector()])])
            assert output(infer(d, GCN, [moved], graph="f")) == first
        assert metric(d, "recurd_graph_updates_total", outcome="anew") == anew, "edges alone were kept, and they have not changed"
        good(d, "PATCH", "/v2/graphs/f", [edge_index([(1, 2)], "add.edge_index")])
        assert output(infer(d, GCN, [moved], graph="f")) == output(infer(d, GCN, [moved, edge_index(ends + [(1, 2)])]))
        assert metric(d, "recurd_graph_updates_total", outcome="anew") == anew + 1
        followed = metric(d, "recurd_graph_updates_total", outcome="followed")
        good(d, "PATCH", "/v2/graphs/f", [edge_index([(2, 2)], "add.edge_index")])
        assert output(infer(d, GCN, [moved], graph="f")) == output(infer(d, GCN, [moved, edge_index(ends + [(1, 2), (2, 2)])]))
        assert metric(d, "recurd_graph_updates_total", outcome="followed") == followed + 1, "from then on sorted edges follow"
        for undirected in (False, True):
            g = Graph(60, 90, undirected)
            name = f"m{int(undirected)}"
            bare = [t for t in g.inputs() if t["name"] != "x"]
            good(d, "PUT", f"/v2/graphs/{name}", bare, undirected=undirected)
            for turn in range(25):
                moved = rows("x", [vector() for _ in g.x])
                for model in (GCN, SAGE, GAT):
                    assert output(infer(d, model, [moved], graph=name)) == \
                        output(infer(d, model, [moved, g.plain()[1]])), (model, turn)
                inputs = []
                while not inputs:
                    inputs = [t for t in g.change() if not t["name"].startswith("set.") and t["name"] != "add.x"]
                good(d, "PATCH", f"/v2/graphs/{name}", inputs)
        followed, more = (metric(d, "recurd_graph_updates_total", outcome=o) for o in ("followed", "anew"))
        assert followed > more, (followed, more)


def test_unused_results_go():
    with serving() as d:
        g = Graph(10, 20)
        good(d, "PUT", "/v2/graphs/u", g.inputs())
        infer(d, GCN, graph="u")
        for _ in range(20):
            good(d, "PATCH", "/v2/graphs/u", [tensor("set.nodes", "INT64", (1,), [0]), rows("set.x", [vector()])])
        assert daemon.until(lambda: metric(d, "recurd_graph_results_bytes") == 0, WAIT_S), "nobody asks any more"


def test_stream_is_the_output():
    """Who reads the stream and nothing else has the output of each version, and is sent only rows that differ."""
    with serving() as d:
        for undirected in (False, True):
            g = Graph(80, 60, undirected)
            good(d, "PUT", "/v2/graphs/s", g.inputs(), undirected=undirected)
            events = Events(d, f"/v2/graphs/s/events?model={GCN}&output=y")
            name, data = events.next()
            version = data["graph_version"]
            assert (name, data["model_name"], data["output"]) == ("subscribed", GCN, "y"), data
            mirror, few = Mirror(*output(infer(d, GCN, graph="s"))), 0
            for turn in range(20):
                inputs, before = [], [list(r) for r in mirror.rows]
                while not inputs:
                    inputs = g.change()
                assert good(d, "PATCH", "/v2/graphs/s", inputs)["version"] == (version := version + 1)
                want = output(infer(d, GCN, g.plain()))[0]
                width = len(before[0])
                wanted = [want[i * width:(i + 1) * width] for i in range(len(g.x))]
                if wanted == before:
                    continue
                if wanted == before[:len(wanted)]:
                    mirror.rows = before[:len(wanted)]
                    continue
                name, data = events.next()
                assert name == "predictions" and data["parameters"]["graph_version"] == version, (name, data)
                outputs = mirror.take(data, len(g.x))
                nodes = outputs["nodes"]["data"]
                assert outputs["id"]["data"] == [g.ids[i] for i in nodes]
                assert mirror.flat() == want, turn
                differ = [i for i, row in enumerate(wanted) if i >= len(before) or row != before[i]]
                assert nodes == differ, (turn, nodes, differ)
                few += len(nodes) < len(g.x) // 2
            assert few > 5, few
            events.close()
            good(d, "DELETE", "/v2/graphs/s")


def test_stream_of_pairs():
    """Rows that are as long as there are nodes: each is another one when a node comes or goes."""
    with serving() as d:
        x, ends = [vector()[:5] for _ in range(40)], [(0, 1), (2, 1), (3, 4)]

        def features(name, values):
            return tensor(name, "FP32", (len(values), 5), [v for row in values for v in row])
        good(d, "PUT", "/v2/graphs/q", [features("x", x), edge_index(ends)])
        events = Events(d, f"/v2/graphs/q/events?model={PAIRS}")
        assert events.next()[0] == "subscribed"
        for _ in range(3):
            x.append(vector()[:5])
            good(d, "PATCH", "/v2/graphs/q", [features("add.x", x[-1:])])
            outputs = {t["name"]: t for t in events.next()[1]["outputs"]}
            assert outputs["nodes"]["data"] == list(range(len(x)))
            assert (outputs["y"]["data"], outputs["y"]["shape"]) == output(infer(d, PAIRS, [features("x", x), edge_index(ends)]))


def test_stream_ends():
    with serving() as d:
        good(d, "PUT", "/v2/graphs/e", Graph(8, 9).inputs())
        good(d, "PUT", "/v2/graphs/other", Graph(8, 9).inputs())
        deleted, loaded = Events(d, f"/v2/graphs/e/events?model={GCN}"), Events(d, f"/v2/graphs/other/events?model={SAGE}")
        gone = Events(d, f"/v2/graphs/other/events?model={GAT}")
        for e in (deleted, loaded, gone):
            assert e.next()[0] == "subscribed"
        good(d, "DELETE", "/v2/graphs/e")
        assert deleted.next() == ("end", {"reason": "the graph was deleted"})
        assert deleted.next() == (None, None)
        assert d.call("POST", f"/v2/repository/models/{GAT}/unload", "{}")[0] == 200
        assert gone.next() == ("end", {"reason": "the model was unloaded"})
        path = pathlib.Path(serving.repository.path) / SAGE
        (path / "2").mkdir()
        shutil.copy(path / "1" / "model.onnx", path / "2" / "model.onnx")
        assert d.call("POST", f"/v2/repository/models/{SAGE}/load", "{}")[0] == 200
        assert loaded.next() == ("end", {"reason": "the model was loaded anew"})
        shutil.rmtree(path / "2")


def test_stream_refusals():
    with serving() as d:
        good(d, "PUT", "/v2/graphs/r", Graph(8, 9).inputs())
        assert "no graph 'q'" in refused(d, 404, "GET", f"/v2/graphs/q/events?model={GCN}")
        assert "'model' is missing" in refused(d, 400, "GET", "/v2/graphs/r/events")
        assert "no-such" in refused(d, 404, "GET", "/v2/graphs/r/events?model=no-such")
        assert "no output 'z'" in refused(d, 400, "GET", f"/v2/graphs/r/events?model={GCN}&output=z")
        assert "'pairs' of model" in refused(d, 400, "GET", f"/v2/graphs/r/events?model={GAE}")


def test_crowd_of_changes():
    """Changes faster than they are followed, a stream that is read late, and requests meanwhile: answers are one
    version's, and the stream ends up with the last one."""
    with serving() as d:
        g = Graph(400, 1200)
        good(d, "PUT", "/v2/graphs/w", g.inputs())
        events = Events(d, f"/v2/graphs/w/events?model={GCN}")
        assert events.next()[0] == "subscribed"
        mirror, crowd = Mirror(*output(infer(d, GCN, graph="w"))), Crowd(d, "w", 3, 40)
        wants = {1: mirror.flat()}
        for version in range(2, 42):
            i = RNG.randrange(400)
            g.x[i] = vector()
            inputs = [tensor("set.nodes", "INT64", (1,), [i]), rows("set.x", [g.x[i]])]
            assert good(d, "PATCH", "/v2/graphs/w", inputs)["version"] == version
            if version % 8 == 0:
                wants[version] = output(infer(d, GCN, g.plain()))[0]
        seen = crowd.answers()
        checked = [v for v, y in seen if v in wants]
        assert all(wants[v] == y for v, y in seen if v in wants), checked
        last = output(infer(d, GCN, g.plain()))[0]
        version = 1
        while mirror.flat() != last:
            name, data = events.next()
            assert name == "predictions" and data["parameters"]["graph_version"] >= version
            version = data["parameters"]["graph_version"]
            mirror.take(data, 400)
        events.close()
        assert read(d, "w")["x"][1] == [400, F]


if __name__ == "__main__":
    with daemon.Repository(GCN, GAE, GAT, SAGE, PAIRS) as serving.repository:
        daemon.main(globals())

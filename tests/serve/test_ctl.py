"""test_ctl.py - recurctl against a running daemon."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile

import daemon
import golden


def ctl(d, *arguments, text=None):
    env = {**os.environ, "RECURD_SERVER": f"http://{d.address}" if d is not None else "http://127.0.0.1:1"}
    p = subprocess.run([sys.argv[2], *arguments], input=text or "", capture_output=True, text=True, timeout=120,
                       env=env, check=False)
    return p.returncode, p.stdout, p.stderr


def test_commands():
    with daemon.Repository("lstm_ts12", "char_model_ts17") as models, daemon.Daemon(models) as d:
        status, out, err = ctl(d, "models")
        assert status == 0 and "lstm_ts12" in out and out.count("READY") == 2, (out, err)
        assert len(json.loads(ctl(d, "models", "--json")[1])) == 2
        assert ctl(d, "ready")[:2] == (0, "ready\n")
        assert ctl(d, "unload", "lstm_ts12")[0] == 0
        assert ctl(d, "ready", "lstm_ts12")[0] == 1
        assert "UNAVAILABLE" in ctl(d, "models")[1]
        assert ctl(d, "load", "lstm_ts12")[0] == 0
        assert ctl(d, "ready", "lstm_ts12") == (0, "ready\n", "")
        status, out, err = ctl(d, "load", "absent")
        assert status == 1 and not out and "absent" in err, (status, out, err)


def test_infer():
    with daemon.Repository("lstm_ts12", "char_model_ts17") as models, daemon.Daemon(models) as d:
        x = golden.case("lstm_ts12")[0][0]
        want = d.infer("lstm_ts12", golden.request("lstm_ts12")).decode()
        status, out, err = ctl(d, "infer", "lstm_ts12", "-f", "-", text=golden.request("lstm_ts12"))
        assert status == 0 and out.strip() == want.strip(), err
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            batch, steps, width = x.shape
            rows = [[x.values[(b * steps + t) * width:][:width] for t in range(steps)] for b in range(batch)]
            json.dump(rows, f)
            f.flush()
            status, out, err = ctl(d, "infer", "lstm_ts12", "--input", f"x=@{f.name}")
        assert status == 0 and json.loads(out)["outputs"] == json.loads(want)["outputs"], err
        status, out, err = ctl(d, "infer", "char_model_ts17", "--version", "1", "--input=tokens=[1,2,3]")
        assert status == 0 and json.loads(out)["outputs"][0]["shape"][:2] == [1, 3], (out, err)
        status, out, _ = ctl(d, "stats", "char_model_ts17")
        assert status == 0 and out.splitlines()[1].split()[:3] == ["char_model_ts17", "1", "1"], out
        for arguments, named in ((("--input", "z=[1]"), "z"), (("--input", "tokens=[[1],[2,3]]"), "regular"),
                                 (("--input", "tokens=[1,"), "tokens"), (("--input", "tokens"), "NAME=JSON"),
                                 (("-f", "/nonexistent.json"), "/nonexistent.json"), ((), "--input")):
            status, out, err = ctl(d, "infer", "char_model_ts17", *arguments)
            assert status == 2 and not out and named in err, (arguments, status, err)
        status, out, err = ctl(d, "infer", "char_model_ts17", "--input", "tokens=[9999]")
        assert status == 1 and "answers 4" in err, (status, err)


def npy(descr, shape, data, columns=False):
    """A numpy array's file, by hand."""
    head = f"{{'descr': '{descr}', 'fortran_order': {columns}, 'shape': {tuple(shape)}, }}"
    head += " " * (63 - (len(head) + 10) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data


def npz(path, arrays, how):
    with zipfile.ZipFile(path, "w", how) as z:
        for name, array in arrays.items():
            with z.open(name + ".npy", "w", force_zip64=True) as f:  # as numpy does
                f.write(array)


def test_graph_from_npz():
    x = [0.5, -1, 2, 3, 4, 5]
    arrays = {"x": npy("<f8", (3, 2), struct.pack("<6d", *x)), "edge_index": npy("<i4", (2, 2), struct.pack("<4i", 0, 1, 1, 2)),
              "edge_weight": npy("<f4", (2,), struct.pack("<2f", 1, 2)), "id": npy("<U3", (3,), "".join(
                  i.ljust(3, "\0") for i in ("a", "b\u00e9", "\U0001f600")).encode("utf-32-le"))}
    with daemon.Repository("lstm_ts12") as models, daemon.Daemon(models) as d, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "g.npz")
        for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            npz(path, arrays, how)
            status, out, err = ctl(d, "graph-put", "g", "--npz", path)
            assert status == 0 and "3 nodes" in out and "2 edges" in out, (out, err)
            got = {t["name"]: t for t in json.loads(d.call("GET", "/v2/graphs/g/tensors")[1])["outputs"]}
            assert got["x"]["data"] == x and got["x"]["shape"] == [3, 2]
            assert got["edge_index"]["data"] == [0, 1, 1, 2] and got["edge_weight"]["data"] == [1, 2]
            assert got["id"]["data"] == ["a", "b\u00e9", "\U0001f600"]
        columns = {"x": npy("<f8", (3, 2), struct.pack("<6d", *x[::2], *x[1::2]), True),  # np.array(pairs).T is stored so
                   "edge_index": npy("<i4", (2, 3), struct.pack("<6i", 0, 1, 1, 2, 2, 0), True), "id": npy("|S1", (3,), b"abc", True)}
        npz(path, columns, zipfile.ZIP_DEFLATED)
        assert ctl(d, "graph-put", "c", "--npz", path)[0] == 0
        got = {t["name"]: t["data"] for t in json.loads(d.call("GET", "/v2/graphs/c/tensors")[1])["outputs"]}
        assert got == {"x": x, "edge_index": [0, 1, 2, 1, 2, 0], "id": ["a", "b", "c"]}, got
        npz(path, {"x": npy("<f2", (2, 2), struct.pack("<4e", 0.5, -2, 65504, float("-inf")))}, zipfile.ZIP_STORED)
        assert ctl(d, "graph-put", "h", "--npz", path)[0] == 0
        got = json.loads(d.call("GET", "/v2/graphs/h/tensors")[1])["outputs"][0]
        assert (got["datatype"], got["data"]) == ("FP32", [0.5, -2, 65504, "-Infinity"]), got
        npz(path, arrays, zipfile.ZIP_STORED)
        with open(path, "rb") as f:
            stored = bytearray(f.read())
        stored[stored.index(b"edge_weight.npy") - 60] ^= 1  # a number of edge_index
        with open(path, "wb") as f:
            f.write(stored)
        status, out, err = ctl(d, "graph-put", "g", "--npz", path)
        assert status == 2 and "damaged (its checksum differs)" in err, (status, out, err)
        npz(path, arrays, zipfile.ZIP_DEFLATED)
        with open(path, "rb") as f:
            whole = f.read()
        for name, array, named in (("x", npy("<c8", (1,), b"8" * 8), "numbers and texts"), ("x", npy("<f16", (1,), bytes(16)), "kind 'f'"),
                                   ("id", npy("|O", (1,), b"12345678"), "save it with .astype(str)"),
                                   ("x", npy("<f8", (2,), struct.pack("<2d", 1, -1e39)), "item 1 of x is beyond FP32"),
                                   ("y", npy("<u8", (1,), b"\xff" * 8), "item 0 of y is beyond INT64"),
                                   ("x", npy("<f4", (1, 1, 1), b"1234", True), "'fortran_order': True"),
                                   ("x", npy("<f4", (9,), b"1234"), "cut off"), ("x", b"none", "no numpy array")):
            npz(path, {name: array}, zipfile.ZIP_STORED)
            status, out, err = ctl(d, "graph-put", "g", "--npz", path)
            assert status == 2 and named in err, (named, status, err)
        for cut in range(0, len(whole), 29):  # cut off or damaged anywhere: a message, never a crash
            for data in (whole[:cut], whole[:cut] + b"\xff" + whole[cut + 1:]):
                with open(path, "wb") as f:
                    f.write(data)
                assert ctl(None, "graph-put", "g", "--npz", path)[0] in (1, 2), cut


def test_graph_from_csv():
    """Tables as people have them: with and without names of columns, quotes, marks and line ends of other systems; what is
    wrong is told with its line."""
    with daemon.Repository("lstm_ts12") as models, daemon.Daemon(models) as d, tempfile.TemporaryDirectory() as folder:
        def put(edges, nodes=None):
            files = []
            for option, text in (("--edges", edges), ("--nodes-file", nodes)):
                if text is not None:
                    files += [option, os.path.join(folder, option[2:] + ".csv")]
                    with open(files[-1], "wb") as f:
                        f.write(text if isinstance(text, bytes) else text.encode())
            status, out, err = ctl(d, "graph-put", "g", *files)
            if status != 0:
                return status, err
            return {t["name"]: t["data"] for t in json.loads(d.call("GET", "/v2/graphs/g/tensors")[1])["outputs"]}

        plain = {"edge_index": [0, 1, 1, 2]}
        for text in ("source,target\n0,1\n1,2\n", "0,1\n1,2", "0\t1\n1\t2\n", "source;target\n0;1\n1; 2\n",
                     "\ufeffsource,target\r\n0,1\r\n\r\n1,2\r\n",
                     "# a remark\nfrom, to\n 0, 1\n1 ,2\n", "# FromNodeId ToNodeId\n0 1\n1  2 \r\n"):
            assert put(text) == plain, text
        assert put("source,target,weight\n0,1,0.5\n1,2,2e-1\n")["edge_weight"][0] == 0.5
        named = {"id": ["b, c", 'say "a"'], "x": [1, 2, 3, 4], "edge_index": [1, 0]}
        assert put('source,target\n"say ""a""","b, c"\n', 'id,f,g\n"b, c",1,2\n"say ""a""" , 3,4\n') == named
        assert put("0 1 0.5\n1 2 2e-1\n")["edge_weight"][0] == 0.5
        assert put("source,target\n", "id,f\nnew york,1\nb,2\n") == {"id": ["new york", "b"], "x": [1, 2], "edge_index": []}
        for text in ("from,to\nann,bob\n", "Source\tTarget\nann\tbob\n", "u;v\nann;bob\n", "node_1 node_2\nann bob\n", "ann,bob\n",
                     "source_id,TargetNode\rann,bob\r", "% sym\nann bob\n \t\n", "src,dst,w\nann,bob,1\n"):
            assert put(text)["id"] == ["ann", "bob"] and put(text)["edge_index"] == [0, 1], text
        assert put("ann,1\n1,bob\n2,ann\n") == {"id": ["ann", "1", "bob", "2"], "edge_index": [0, 1, 3, 1, 2, 0]}
        for text in ("007,8\n", "0,2147483647\n", "0,99999999999999999999\n", "0,-1\n"):  # no indices: names
            assert put(text) == {"id": text.strip().split(","), "edge_index": [0, 1]}, text
        assert put("boss,clerk\na,b\n", "id\na\nb\n") == {"id": ["a", "b"], "edge_index": [0, 1]}  # a head: no node of the other
        assert put("a,b\n", "id,f\na,1\nb,2\n") == {"id": ["a", "b"], "x": [1, 2], "edge_index": [0, 1]}
        assert put('"a b" c\nc "a b"\n') == {"id": ["a b", "c"], "edge_index": [0, 1, 1, 0]}
        assert put("a,b,0.100000001490116119384765625001\nb,a,1\n")["edge_weight"] == [0.1, 1]  # rounded once
        for edges, nodes, text in (("0,1\n", "id,f\n", "nodes-file.csv has no rows"),
                                   ("source,target,weight\n0,1,1\n0,1,abc\n", None, "line 3, column 3: 'abc' is no number"),
                                   ("0,1,1\n0,1,nan\n", None, "line 2, column 3: 'nan'"), ("0,1\n2\n", None, "line 2 has 1 column,"),
                                   ("a,b,NA\nb,c,1\n", None, "line 1, column 3: 'NA'"), ("a,b,inf\n", None, "line 1, column 3: 'inf'"),
                                   ("a,b,1e39\nb,a,1\n", None, "line 1, column 3: 1e39 is beyond 3.40282347e+38"),
                                   ("a;b;1,5\nb;c;2,5\n", None, "line 1, column 3: '1,5' is no number (decimals have a point)"),
                                   ("0|1\n", None, "line 1 has 1 column, want source,target[,weight]"), ("", None, "has no rows"),
                                   ("source,target\n", None, "has no rows"), ('0,1\n"0,1\n', None, "line 2 has a quote that is not closed"),
                                   ('"a"z,b\n', None, "line 1 has text behind a closing quote"), ("a,b\nb,\0c\n", None, "byte 6 is NUL"),
                                   (b"\xff\xfea\0", None, "is UTF-16; save it as UTF-8"), (b"a,b\nb,\xe9\n", None, "line 2 is not UTF-8"),
                                   ("a,b\na,z\n", "id,f\na,1\nb,2\n", "line 2, column 2: 'z' is no node of"),
                                   ("a,b\nb,a\n", "id,f\na,1\nb,2\na,3\n", "lines 2 and 4 have the same id 'a'")):
            status, err = put(edges, nodes)
            assert status == 2 and text in err, (edges, status, err)


def test_pairs_by_name():
    """Three commands from tables to an answer about pairs of nodes, by index or by name."""
    with daemon.Repository("graph_gae_ts18") as models, daemon.Daemon(models) as d, tempfile.TemporaryDirectory() as folder:
        edges, nodes = (os.path.join(folder, name) for name in ("e.csv", "n.csv"))
        with open(edges, "w", encoding="utf-8") as f:
            f.write("ann,bob\nbob,cat\n")
        with open(nodes, "w", encoding="utf-8") as f:
            f.write("".join(f"{name},{','.join(str(i + k) for k in range(6))}\n" for i, name in enumerate(("ann", "bob", "cat"))))
        assert ctl(d, "graph-put", "g", "--edges", edges, "--nodes-file", nodes)[0] == 0
        asked = [ctl(d, "infer", "graph_gae_ts18", "--graph", "g", "--input", f"pairs={pairs}")
                 for pairs in ('[["ann","cat"],["bob","bob"]]', "[[0,2],[1,1]]")]
        assert asked[0][0] == 0 and asked[0] == asked[1], asked
        status, _, err = ctl(d, "infer", "graph_gae_ts18", "--graph", "g", "--input", 'pairs=[["ann"],["dan"]]')
        assert status == 1 and "graph 'g' has no node 'dan'" in err, err


def test_usage():
    assert ctl(None, "--help")[0] == 0
    for arguments in ((), ("dance",), ("load",), ("models", "m"), ("infer", "m"), ("--timeout", "x", "models"),
                      ("--server",), ("stats", "m", "more"), ("graph-put", "g", "--edges", "e.csv", "--nodes", "n.csv"),
                      ("graph-put", "g", "--npz", "g.npz", "--nodes-file", "n.csv"), ("graph-put", "g", "-f", "r.json", "--undirected")):
        status, out, err = ctl(None, *arguments)
        assert status == 2 and not out and err.startswith("recurctl: "), (arguments, status, out, err)
    status, _, err = ctl(None, "models")
    assert status == 1 and "127.0.0.1:1" in err, (status, err)


if __name__ == "__main__":
    daemon.main(dict(globals()))

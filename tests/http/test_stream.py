"""test_stream.py - answers in pieces: timing, framing, clients that leave or do not read, draining."""

import os
import re
import signal
import socket
import struct
import tempfile
import time

import raw

REQUEST = "GET {} HTTP/{}\r\nHost: x\r\n{}\r\n"
# 24 MB at once, more than the kernel holds; then nothing for a long time
BACKLOG = "&later=1&ms=600000&burst=400&size=60000&max=40000000"


def ask(c, path, version="1.1", headers=""):
    """Send a request and read the answer's head: status and headers."""
    c.send(REQUEST.format(path, version, headers))
    return head(c)


def head(c):
    while b"\r\n\r\n" not in c.left:
        assert c._more(), "closed before the head"
    text, c.left = c.left.split(b"\r\n\r\n", 1)
    lines = text.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split(" ")[1]), fields


def line(c):
    while b"\r\n" not in c.left:
        if not c._more():
            return None
    text, c.left = c.left.split(b"\r\n", 1)
    return text


def chunk(c):
    """The next chunk; b"" is the last one, None: the stream was cut."""
    size = line(c)
    if size is None:
        return None
    size = int(size, 16)
    while len(c.left) < size + 2:
        if not c._more():
            return None
    data, c.left = c.left[:size], c.left[size + 2:]
    return data


def events(data):
    return [int(n) for n in re.findall(rb"data: (\d+)", data)]


def whole(c):
    """All chunks to the end; fails when it was cut."""
    pieces = []
    while True:
        pieces.append(chunk(c))
        assert pieces[-1] is not None, "cut"
        if not pieces[-1]:
            return b"".join(pieces)


def rest(c):
    """Everything until the server closes; and whether the last chunk came."""
    while c._more():
        pass
    return c.left, c.left.endswith(b"0\r\n\r\n")


def streams(server):
    with server.client() as c:
        return c.get("/streams").json()


def all_closed(server, n):
    return raw.until(lambda: streams(server)["closed"] == n)


def rss_kib(server):
    """Resident memory; the sanitizer's store of freed blocks is kept small for it."""
    with open(f"/proc/{server.p.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def test_events_come_one_by_one():
    with raw.Server() as server, server.client() as c:
        start = time.monotonic()
        status, fields = ask(c, "/stream?n=10&ms=100")
        assert status == 200 and fields["content-type"] == "text/event-stream"
        assert fields["transfer-encoding"] == "chunked" and "content-length" not in fields
        assert fields["cache-control"] == "no-store" and fields["x-request-id"]
        assert "connection" not in fields
        for i in range(10):
            assert events(chunk(c)) == [i]
            assert time.monotonic() - start > 0.1 * i, "not yet written"
            assert i > 0 or streams(server)["closed"] == 0, "the first one came when the last one was written"
        assert chunk(c) == b"" and not c.left
        assert all_closed(server, 1)


def test_head_goes_out_before_the_first_event():
    with raw.Server() as server, server.client() as c:
        assert ask(c, "/stream?n=1&ms=600000")[0] == 200


def test_begun_later():
    with raw.Server() as server, server.client() as c:
        assert ask(c, "/stream?n=3&ms=20&later=200")[0] == 200
        assert events(whole(c)) == [0, 1, 2]
        assert all_closed(server, 1)


def test_request_id_and_wanted_close():
    with raw.Server() as server, server.client() as c:
        _, fields = ask(c, "/stream?n=1", headers="X-Request-Id: mine-1\r\nConnection: close\r\n")
        assert fields["x-request-id"] == "mine-1" and fields["connection"] == "close"
        assert events(whole(c)) == [0] and c.closed()


def test_keep_alive_after_a_stream():
    with raw.Server() as server, server.client() as c:
        for n in (1, 3, 20):
            assert ask(c, f"/stream?n={n}&ms=3")[0] == 200
            assert events(whole(c)) == list(range(n))
            assert c.post("/echo", b"abc").body == b"abc"
        assert all_closed(server, 3)


def test_pipelined_behind_a_stream():
    with raw.Server() as server, server.client() as c:
        c.send(REQUEST.format("/stream?n=3&ms=30", "1.1", "")
               + "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
               + REQUEST.format("/stream?n=2&ms=10", "1.1", ""))
        assert head(c)[0] == 200 and events(whole(c)) == [0, 1, 2]
        assert c.recv_answer().body == b"abc"
        assert head(c)[0] == 200 and events(whole(c)) == [0, 1]


def test_stream_for_a_post():
    with raw.Server() as server, server.client() as c:
        c.send("POST /stream?n=2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        assert head(c)[0] == 200 and events(whole(c)) == [0, 1]


def test_http_1_0():
    with raw.Server() as server:
        for extra in ("", "Connection: keep-alive\r\n"):
            with server.client() as c:
                before = streams(server)["closed"]
                status, fields = ask(c, "/stream?n=10&ms=100", "1.0", extra)
                assert status == 200 and "transfer-encoding" not in fields
                assert "content-length" not in fields
                while not events(c.left):
                    assert c._more()
                assert streams(server)["closed"] == before, "the first one came when the last one was written"
                data, _ = rest(c)
                assert events(data) == list(range(10)), data
        assert all_closed(server, 2)


def test_http_1_0_with_much_data():
    with raw.Server() as server, server.client() as c:
        assert ask(c, "/stream?n=200&ms=1&burst=10&size=20000&max=4000000", "1.0")[0] == 200
        data, _ = rest(c)
        assert len(data) == 200 * 20000 and events(data) == list(range(200))


def test_head_request():
    with raw.Server() as server:
        for how in ("", "&later=20&burst=10&max=1000"):  # written bytes are dropped, not buffered
            with server.client() as c:
                c.send(f"HEAD /stream?ms=5&size=50000{how} HTTP/1.1\r\nHost: x\r\n\r\n")
                status, fields = head(c)
                assert status == 200 and fields["content-type"] == "text/event-stream"
                assert "content-length" not in fields
                data, _ = rest(c)
                assert data == b"", data
        assert all_closed(server, 2) and streams(server)["too_slow"] == 0
        assert raw.until(lambda: server.stats()["active"] == 1)


def test_much_data_arrives_whole():
    with raw.Server() as server, server.client() as c:
        assert ask(c, "/stream?n=1000&ms=1&burst=50&size=20000&max=20000000")[0] == 200
        data = whole(c)
        assert len(data) == 1000 * 20000 and events(data) == list(range(1000))
        assert c.post("/echo", b"x").body == b"x"


def test_client_leaves():
    with raw.Server() as server:
        server.stats()
        before = server.descriptors()
        for path in ("/stream?ms=600000", "/stream?ms=10", "/stream?ms=1&size=60000&max=1000000"):
            closed, gone = streams(server)["closed"], server.stats()["gone"]
            for reset in (False, True):
                c = server.client()
                assert ask(c, path)[0] == 200
                time.sleep(0.05)
                if reset:
                    c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                c.s.close()
            start = time.monotonic()
            assert all_closed(server, closed + 2), path
            assert time.monotonic() - start < 15, "that is not seen, but timed out"
            assert server.stats()["gone"] == gone + 2
        assert raw.until(lambda: server.stats()["connections"] == 1)
        assert raw.until(lambda: server.descriptors() <= before)


def test_unix_socket():
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/s"
        with raw.Server("unix=unix:" + path) as server:
            c = server.client(family=socket.AF_UNIX, address=path)
            assert ask(c, "/stream?n=3&ms=10")[0] == 200
            assert events(whole(c)) == [0, 1, 2]
            assert ask(c, "/stream?ms=600000")[0] == 200
            c.s.close()
            assert all_closed(server, 2)


def test_client_leaves_with_a_request_sent_ahead():
    with raw.Server() as server:
        c = server.client()
        assert ask(c, "/stream?ms=600000")[0] == 200
        c.send(REQUEST.format("/echo", "1.1", ""))
        c.s.shutdown(socket.SHUT_WR)
        assert all_closed(server, 1)
        c.s.close()


def test_client_leaves_before_the_begin():
    with raw.Server() as server:
        c = server.client()
        c.send(REQUEST.format("/stream?ms=600000&later=300", "1.1", ""))
        time.sleep(0.05)
        c.s.close()
        assert raw.until(lambda: streams(server)["closed"] == 1)
        assert raw.until(lambda: server.stats()["connections"] == 1)


def test_slow_reader_is_cut():
    with raw.Server() as server:
        for version in ("1.1", "1.0"):
            seen = streams(server)
            memory = rss_kib(server)
            slow = [server.client() for _ in range(10)]
            for c in slow:
                c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                assert ask(c, "/stream?ms=10&size=60000&burst=2&max=300000", version)[0] == 200
            assert all_closed(server, seen["closed"] + 10)
            assert streams(server)["too_slow"] == seen["too_slow"] + 10
            grown = rss_kib(server) - memory
            assert grown < 10 * 2000, grown  # not the endless stream
            for c in slow:
                data, ended = rest(c)
                assert events(data)[:1] == [0] and not ended
                c.s.close()
            assert raw.until(lambda: server.stats()["connections"] == 1)


def test_stalled_reader_has_a_deadline():
    """Below max_buffered, but nothing is taken: the time for an answer counts, ended or not."""
    for n in (400, 401):
        with raw.Server("body_ms=600") as server, server.client() as c:
            c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            start = time.monotonic()
            assert ask(c, f"/stream?n={n}" + BACKLOG)[0] == 200
            assert raw.until(lambda: streams(server)["closed"] == 1)
            assert time.monotonic() - start > 0.4
            assert streams(server)["too_slow"] == 0


def test_a_reader_that_keeps_taking_has_time():
    with raw.Server("body_ms=1500") as server, server.client() as c:
        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        assert ask(c, "/stream?n=401" + BACKLOG)[0] == 200
        got, start = [], time.monotonic()
        while len(got) < 400:
            got += events(chunk(c))
            time.sleep(0.008)
        assert got == list(range(400)) and time.monotonic() - start > 2
        assert streams(server)["closed"] == 0


def test_an_idle_stream_has_no_deadline():
    with raw.Server("head_ms=300", "body_ms=300", "idle_ms=300") as server, server.client() as c:
        assert ask(c, "/stream?n=2&ms=1000")[0] == 200
        assert events(whole(c)) == [0, 1]
        start = time.monotonic()
        assert c.closed()  # now it is an idle connection
        assert 0.2 < time.monotonic() - start < 2


def test_many_old_clients_at_once():
    with raw.Server() as server:
        clients = [server.client() for _ in range(30)]
        for i, c in enumerate(clients):
            c.send(REQUEST.format(f"/stream?n={20 + i}&ms={1 + i % 5}", "1.0", ""))
        for i, c in enumerate(clients):
            with server.client() as other:
                assert other.post("/later", b"x").body == b"x"
            assert head(c)[0] == 200
            data, _ = rest(c)
            assert events(data) == list(range(20 + i))
            c.s.close()
        assert all_closed(server, 30)
        assert raw.until(lambda: server.stats()["connections"] == 1)


def test_many_streams_at_once():
    with raw.Server() as server:
        clients = [server.client() for _ in range(50)]
        for c in clients:
            c.send(REQUEST.format("/stream?n=20&ms=20", "1.1", ""))
        with server.client() as other:
            for _ in range(30):
                assert other.post("/later", b"x").body == b"x"
        for c in clients:
            assert head(c)[0] == 200
            assert events(whole(c)) == list(range(20))
        for c in clients:
            assert c.post("/echo", b"y").body == b"y"
            c.s.close()
        assert all_closed(server, 50)
        assert raw.until(lambda: server.stats()["active"] == 1)


def test_streams_that_end_in_every_way_together():
    with raw.Server() as server:
        kept, left = [], []
        for i in range(30):
            c = server.client()
            (kept if i % 2 else left).append(c)
            c.send(REQUEST.format(f"/stream?n={5 if i % 2 else 100000}&ms={1 + i % 7}", "1.1", ""))
        for c in left:
            head(c)
            c.s.close()
        for c in kept:
            assert head(c)[0] == 200 and events(whole(c)) == [0, 1, 2, 3, 4]
            c.s.close()
        assert all_closed(server, 30)
        assert raw.until(lambda: server.stats()["active"] == 1)


def test_drain():
    with raw.Server() as server:
        quiet = [server.client() for _ in range(5)]
        busy = [server.client() for _ in range(5)]
        old = server.client()
        for c in quiet:
            assert ask(c, "/stream?ms=600000")[0] == 200
        for c in busy:
            assert ask(c, "/stream?ms=5")[0] == 200
        assert ask(old, "/stream?ms=5", "1.0")[0] == 200
        assert server.stats()["active"] == 12
        start = time.monotonic()
        server.p.send_signal(signal.SIGTERM)
        for c in quiet:
            assert whole(c) == b"" and c.closed()
        for c in busy:
            got = events(whole(c))
            assert got == list(range(len(got))) and c.closed()
        rest(old)
        assert server.p.wait(30) == 0  # 4: some `closed` was not called
        assert time.monotonic() - start < 20, "it waited for a stream's next event or for a client's time"
        for c in quiet + busy + [old]:
            c.s.close()


def test_drain_delivers_what_is_buffered():
    with raw.Server() as server, server.client() as c:
        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        assert ask(c, "/stream?n=401" + BACKLOG)[0] == 200
        assert raw.until(lambda: streams(server)["written"] == 400 * 60000)
        server.p.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert events(whole(c)) == list(range(400))
        c.s.close()
        assert server.p.wait(30) == 0


def test_drain_with_a_stream_not_yet_begun():
    with raw.Server() as server, server.client() as c:
        c.send(REQUEST.format("/stream?n=1000&ms=10&later=1500", "1.1", ""))
        assert raw.until(lambda: server.stats()["active"] == 2)
        server.p.send_signal(signal.SIGTERM)
        status, fields = head(c)
        assert status == 200 and fields["connection"] == "close"
        assert events(whole(c)) == [0] and c.closed()  # what was written with the begin
        assert server.p.wait(30) == 0


def test_drain_with_a_client_that_does_not_read():
    with raw.Server("body_ms=1500") as server, server.client() as c:
        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        start = time.monotonic()
        assert ask(c, "/stream?n=401" + BACKLOG)[0] == 200
        assert raw.until(lambda: streams(server)["written"] == 400 * 60000)
        server.p.send_signal(signal.SIGTERM)
        assert server.p.wait(30) == 0
        assert 1.4 < time.monotonic() - start < 20  # the time for an answer


def test_no_memory():
    with raw.Server() as server, server.client() as c:
        status, fields = ask(c, "/stream?fail=begin")
        assert status == 503
        assert raw.until(lambda: len(c.left) >= int(fields["content-length"]) or not c._more())
        c.left = b""
        assert c.post("/echo", b"x").body == b"x"
        assert ask(c, "/stream?fail=write")[0] == 200
        assert chunk(c) is None  # cut
        assert all_closed(server, 1)
        seen = streams(server)
        assert seen["begun"] == 1 and seen["no_memory"] == 1


if __name__ == "__main__":
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    raw.main(globals())

"""test_leaving.py - clients that go away, and the server's own leave."""

import signal
import socket
import struct
import time

import raw


def test_leave_while_waiting():
    with raw.Server() as server:
        server.stats()
        before = server.descriptors()
        for _ in range(3):
            clients = [server.client() for _ in range(20)]
            for c in clients:
                c.send("GET /wait/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert raw.until(lambda: server.stats()["active"] == 21)
            time.sleep(0.05)  # a departure within the first milliseconds is not looked for
            for c in clients:
                c.s.close()
            assert raw.until(lambda: server.stats()["connections"] == 1)
        assert server.stats()["gone"] == 60
        assert raw.until(lambda: server.descriptors() <= before)


def test_leave_in_the_head_and_in_the_body():
    with raw.Server() as server:
        for request in ("GET /ec", "GET /echo HTTP/1.1\r\nHos", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"):
            with server.client() as c:
                c.send(request)
                time.sleep(0.05)
        assert raw.until(lambda: server.stats()["connections"] == 1)
        assert server.stats()["gone"] == 1  # only the last was a request


def test_leave_before_a_large_answer():
    with raw.Server() as server:
        for _ in range(5):
            with server.client() as c:
                body = b"x" * 4000000
                c.send(f"POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n")
                c.send(body)
        assert raw.until(lambda: server.stats()["connections"] == 1)


def test_reset_while_waiting():
    with raw.Server() as server:
        c = server.client()
        c.send("GET /wait/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.until(lambda: server.stats()["active"] == 2)
        time.sleep(0.05)
        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.s.close()
        assert raw.until(lambda: server.stats()["connections"] == 1)
        assert server.stats()["gone"] == 1


def test_drain():
    with raw.Server() as server:
        idle, busy = server.client(), server.client()
        assert idle.post("/echo", b"x").status == 200
        busy.send("GET /wait/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.until(lambda: server.stats()["active"] == 2)
        server.p.send_signal(signal.SIGTERM)
        answer = busy.recv_answer()
        assert answer.status == 200 and answer.headers["connection"] == "close"
        assert busy.closed()
        assert idle.closed()
        idle.s.close()
        busy.s.close()
        assert server.p.wait(30) == 0
        try:
            server.client()
            raise AssertionError("still listening")
        except ConnectionRefusedError:
            pass


if __name__ == "__main__":
    raw.main(globals())

"""test_deadlines.py - slow clients: every phase has an end that dripping bytes do not move."""

import time

import raw


def drip(c, data, pause, start):
    """Send byte by byte until the server ends the connection; how long that is after `start`, which comes before what the
    server's clock begins with."""
    c.s.settimeout(0.001)
    for byte in data:
        if time.monotonic() - start > MOST_S:
            break
        try:
            c.s.send(bytes([byte]))
            time.sleep(pause)
        except OSError:
            pass  # it has ended; what it said is still to be read
        try:
            got = c.s.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            got = b""
        if got:
            c.left += got
        else:
            return time.monotonic() - start
    return None


MOST_S = 25  # on a machine that has other work, too
HEAD = b"GET /echo HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 5000


def test_silent_connection():
    with raw.Server("head_ms=400") as server:
        start = time.monotonic()
        with server.client() as c:
            assert c.closed()
            assert 0.3 < time.monotonic() - start < MOST_S


def test_slow_head():
    with raw.Server("head_ms=500") as server:
        start = time.monotonic()
        with server.client() as c:
            took = drip(c, HEAD, 0.02, start)
            assert took is not None and took > 0.4, took
            assert b" 408 " in c.left


def test_slow_request_line():
    with raw.Server("head_ms=500") as server:
        start = time.monotonic()
        with server.client() as c:
            took = drip(c, b"GET /" + b"a" * 5000, 0.02, start)
            assert took is not None and took > 0.4, took


def test_slow_second_head():
    """Between requests only the kernel knows that a head has begun."""
    with raw.Server("head_ms=500", "idle_ms=60000") as server, server.client() as c:
        assert c.post("/echo", b"x").status == 200
        time.sleep(0.3)
        took = drip(c, b"GET /" + b"a" * 5000, 0.02, time.monotonic())
        assert took is not None and took > 0.3, took


def test_slow_body():
    with raw.Server("body_ms=600") as server, server.client() as c:
        start = time.monotonic()
        c.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n")
        took = drip(c, b"x" * 5000, 0.02, start)
        assert took is not None and took > 0.4, took
        assert b" 408 " in c.left and b"request_timeout" in c.left
        assert raw.until(lambda: server.stats()["connections"] == 1)


def test_body_below_the_rate():
    with raw.Server() as server, server.client() as c:  # 500 bytes per second from 5 s on
        start = time.monotonic()
        c.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n")
        took = drip(c, b"x" * 5000, 0.05, start)
        assert took is not None and 4.5 < took < 20, took  # 30: the time for the whole body


def test_idle_connection():
    with raw.Server("idle_ms=500") as server, server.client() as c:
        start = time.monotonic()
        assert c.post("/echo", b"x").status == 200
        assert c.closed()
        assert 0.4 < time.monotonic() - start < MOST_S


def test_no_deadline_while_the_answer_is_ours():
    with raw.Server("head_ms=300", "body_ms=300", "idle_ms=300") as server, server.client() as c:
        assert c.post("/wait/1200", b"x").body == b"x"


def test_answer_not_taken():
    with raw.Server("body_ms=700") as server, server.client() as c:
        body = b"x" * (16 << 20)
        c.send(f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n")
        c.send(body)  # and never read
        assert raw.until(lambda: server.stats()["connections"] == 1)


def test_slow_ones_do_not_stop_others():
    with raw.Server("head_ms=2000") as server:
        slow = [server.client() for _ in range(200)]
        for c in slow:
            c.send("GET /echo HT")
        with server.client() as c:
            for _ in range(50):
                assert c.post("/later", b"x").status == 200
        for c in slow:
            assert c.closed() or c.left
            c.s.close()
        assert raw.until(lambda: server.stats()["connections"] == 1)


if __name__ == "__main__":
    raw.main(globals())

"""test_framing.py - requests that two HTTP programs might read differently, and what we answer.

Each case: bytes of a head (and body), then the expected outcome of the first answer: a status, or
CLOSE (no answer, connection closed). After 4xx of these the connection must close, so that
nothing that follows can be taken for a request. A marker request is sent behind the case: it must
never be answered ("GET /items/smuggled")."""

import raw

CLOSE = None
H = "Host: x\r\n"
TE = "Transfer-Encoding: chunked\r\n"
TAIL = "GET /items/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

# (name, request bytes, accepted outcomes)
REFUSED = [
    ("length and coding", f"POST /echo HTTP/1.1\r\n{H}Content-Length: 3\r\n{TE}\r\n0\r\n\r\n", [400]),
    ("coding and length", f"POST /echo HTTP/1.1\r\n{H}{TE}Content-Length: 3\r\n\r\n0\r\n\r\n", [400]),
    ("two lengths, different", f"POST /echo HTTP/1.1\r\n{H}Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", [400]),
    ("two lengths, equal", f"POST /echo HTTP/1.1\r\n{H}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", [400]),
    ("length list", f"POST /echo HTTP/1.1\r\n{H}Content-Length: 3, 3\r\n\r\nabc", [400]),
    ("length with plus", f"POST /echo HTTP/1.1\r\n{H}Content-Length: +3\r\n\r\nabc", [400]),
    ("length negative", f"POST /echo HTTP/1.1\r\n{H}Content-Length: -3\r\n\r\nabc", [400]),
    ("length hexadecimal", f"POST /echo HTTP/1.1\r\n{H}Content-Length: 0x3\r\n\r\nabc", [400]),
    ("length empty", f"POST /echo HTTP/1.1\r\n{H}Content-Length:\r\n\r\nabc", [400]),
    ("length over 64 bits", f"POST /echo HTTP/1.1\r\n{H}Content-Length: 99999999999999999999999\r\n\r\nabc", [400, 413]),
    ("length with inner space", f"POST /echo HTTP/1.1\r\n{H}Content-Length: 3 0\r\n\r\nabc", [400]),
    ("space before colon", f"POST /echo HTTP/1.1\r\n{H}Content-Length : 3\r\n\r\nabc", [400]),
    ("tab before colon", f"POST /echo HTTP/1.1\r\n{H}Content-Length\t: 3\r\n\r\nabc", [400]),
    ("space before coding's colon", f"POST /echo HTTP/1.1\r\n{H}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", [400]),
    ("coding unknown", f"POST /echo HTTP/1.1\r\n{H}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [400]),
    ("coding identity", f"POST /echo HTTP/1.1\r\n{H}Transfer-Encoding: identity\r\n\r\nabc", [400]),
    ("coding list", f"POST /echo HTTP/1.1\r\n{H}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", [400]),
    ("coding twice", f"POST /echo HTTP/1.1\r\n{H}{TE}{TE}\r\n0\r\n\r\n", [400]),
    ("coding chunked then identity", f"POST /echo HTTP/1.1\r\n{H}{TE}Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", [400]),
    ("coding in quotes", f"POST /echo HTTP/1.1\r\n{H}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", [400]),
    ("coding with vertical tab", f"POST /echo HTTP/1.1\r\n{H}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", [400]),
    ("coding in HTTP/1.0", f"POST /echo HTTP/1.0\r\n{H}{TE}\r\n0\r\n\r\n", [400]),
    ("coding empty", f"POST /echo HTTP/1.1\r\n{H}Transfer-Encoding:\r\n\r\n0\r\n\r\n", [400]),
    ("no host", "GET /echo HTTP/1.1\r\n\r\n", [400]),
    ("two hosts", f"GET /echo HTTP/1.1\r\n{H}Host: y\r\n\r\n", [400]),
    ("host with path", "GET /echo HTTP/1.1\r\nHost: x/y\r\n\r\n", [400]),
    ("host with user", "GET /echo HTTP/1.1\r\nHost: a@x\r\n\r\n", [400]),
    ("host list", "GET /echo HTTP/1.1\r\nHost: x, y\r\n\r\n", [400]),
    ("control byte in value", f"GET /echo HTTP/1.1\r\n{H}A: b\x01c\r\n\r\n", [400]),
    ("delete byte in value", f"GET /echo HTTP/1.1\r\n{H}A: b\x7fc\r\n\r\n", [400]),
    ("bare CR in value", f"GET /echo HTTP/1.1\r\n{H}A: b\rContent-Length: 3\r\n\r\n", [400, CLOSE]),
    ("control byte in name", f"GET /echo HTTP/1.1\r\n{H}A\x01: b\r\n\r\n", [400]),
    ("bracket in name", f"GET /echo HTTP/1.1\r\n{H}A(: b\r\n\r\n", [400]),
    ("line without colon", f"GET /echo HTTP/1.1\r\n{H}nonsense\r\n\r\n", [400, CLOSE]),
    ("space in target", f"GET /echo x HTTP/1.1\r\n{H}\r\n", [400]),
    ("control byte in target", f"GET /ec\x02ho HTTP/1.1\r\n{H}\r\n", [400]),
    ("control byte in query", f"GET /echo?a=\x02 HTTP/1.1\r\n{H}\r\n", [400]),
    ("version 2.0", f"GET /echo HTTP/2.0\r\n{H}\r\n", [400, 505, CLOSE]),
    ("version nonsense", f"GET /echo HTTX/1.1\r\n{H}\r\n", [400, CLOSE]),
    ("no version", "GET /echo\r\n\r\n", [400, 505, CLOSE]),
    ("chunk size not hexadecimal", f"POST /echo HTTP/1.1\r\n{H}{TE}\r\nZZ\r\nabc\r\n0\r\n\r\n", [400, CLOSE]),
    ("chunk size negative", f"POST /echo HTTP/1.1\r\n{H}{TE}\r\n-3\r\nabc\r\n0\r\n\r\n", [400, CLOSE]),
    ("chunk size over 64 bits", f"POST /echo HTTP/1.1\r\n{H}{TE}\r\n11111111111111111\r\nabc\r\n0\r\n\r\n", [400, 413, CLOSE]),
    ("chunk longer than its size", f"POST /echo HTTP/1.1\r\n{H}{TE}\r\n3\r\nabcdef\r\n0\r\n\r\n", [400, CLOSE]),
    ("TLS hello on the plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", [400, 505, CLOSE]),
]

# Leniencies of libmicrohttpd 0.9.75 that no handler can see; none of them moves the end of a
# request. Listed so that a later version which closes them is noticed.
LENIENT = [
    ("line end without CR in the head", f"GET /echo HTTP/1.1\nHost: x\n\n", 200),
    ("empty header name is dropped", f"GET /echo HTTP/1.1\r\n{H}: b\r\n\r\n", 200),
    ("NUL cuts a header value", f"GET /echo HTTP/1.1\r\n{H}A: b\0c\r\n\r\n", 200),
    ("chunk lines end without CR", f"POST /echo HTTP/1.1\r\n{H}{TE}\r\n3\nabc\n0\n\n", 200),
]

# (name, request bytes, status): served, and the connection stays in step.
SERVED = [
    ("plain length", f"POST /echo HTTP/1.1\r\n{H}Content-Length: 3\r\n\r\nabc", 200),
    ("length with leading zeros", f"POST /echo HTTP/1.1\r\n{H}Content-Length: 003\r\n\r\nabc", 200),
    ("plain chunked", f"POST /echo HTTP/1.1\r\n{H}{TE}\r\n3\r\nabc\r\n0\r\n\r\n", 200),
    ("chunked in capitals", f"POST /echo HTTP/1.1\r\n{H}Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200),
    ("chunk extension", f"POST /echo HTTP/1.1\r\n{H}{TE}\r\n3;a=b\r\nabc\r\n0\r\n\r\n", 200),
    ("trailers", f"POST /echo HTTP/1.1\r\n{H}{TE}\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", 200),
    ("get with body", f"GET /echo HTTP/1.1\r\n{H}Content-Length: 3\r\n\r\nabc", 200),
    ("any content type", f"POST /echo HTTP/1.1\r\n{H}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b", 200),
    ("tab in value", f"GET /echo HTTP/1.1\r\n{H}A: b\tc\r\n\r\n", 200),
    ("bytes over 127 in value", f"GET /echo HTTP/1.1\r\n{H}A: \xc3\xa4\r\n\r\n", 200),
    ("host with port", "GET /echo HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),
    ("absolute form", f"GET http://x/echo HTTP/1.1\r\n{H}\r\n", 200),
    ("empty line before the request", f"\r\nGET /echo HTTP/1.1\r\n{H}\r\n", 200),
    ("percent zero", f"GET /items/a%00b HTTP/1.1\r\n{H}\r\n", 400),
    ("escaped line end", f"GET /items/a%0d%0ab HTTP/1.1\r\n{H}\r\n", 400),
    ("malformed escape", f"GET /items/a%zz HTTP/1.1\r\n{H}\r\n", 400),
    ("unknown path", f"GET /nope HTTP/1.1\r\n{H}\r\n", 404),
    ("method unknown", f"BREW /echo HTTP/1.1\r\n{H}\r\n", 405),
    ("method in small letters", f"get /echo HTTP/1.1\r\n{H}\r\n", 405),
]


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def answers(seen):
    """libmicrohttpd sends the head of its own 400 twice before one page (ops: trap 6)."""
    if b"<html>" in seen:
        return seen.count(b"<html>")
    return seen.count(b"HTTP/1.1 ")


def test_refused_framing():
    wrong = []
    with raw.Server() as server:
        for name, request, outcomes in REFUSED:
            with server.client() as c:
                c.send(as_bytes(request) + as_bytes(TAIL))
                seen = b""
                try:
                    while True:
                        data = c.s.recv(65536)
                        if not data:
                            break
                        seen += data
                except ConnectionResetError:
                    pass
                except TimeoutError:
                    wrong.append((name, "hangs", seen[:80]))
                    continue
                status = int(seen.split(b" ", 2)[1]) if seen else CLOSE
                if status not in outcomes or b"smuggled" in seen or answers(seen) > 1:
                    wrong.append((name, status, outcomes, seen[:300]))
    assert not wrong, "\n".join(map(str, wrong))


def test_served_framing():
    wrong = []
    with raw.Server() as server:
        for name, request, status in SERVED + LENIENT:
            with server.client() as c:
                c.send(as_bytes(request) + as_bytes(TAIL))
                answer, after = c.recv_answer(), c.recv_answer()
                if answer.status != status or after is None or after.body != b"item=smuggled q=-":
                    wrong.append((name, answer.status, status, answer.body, after and after.body))
    assert not wrong, "\n".join(map(str, wrong))


def test_http10_without_host_closes():
    with raw.Server() as server, server.client() as c:
        c.send("GET /echo HTTP/1.0\r\n\r\n")
        assert c.recv_answer().status == 200
        assert c.closed()


def test_head_over_the_limit():
    with raw.Server() as server:
        with server.client() as c:
            c.send("GET /echo HTTP/1.1\r\nHost: x\r\nA: " + "a" * 200000 + "\r\n\r\n")
            answer = c.recv_answer()
            assert answer is None or answer.status in (413, 431), answer.status
        with server.client() as c:
            c.send("GET /" + "a" * 200000 + " HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = c.recv_answer()
            assert answer is None or answer.status in (413, 414, 431), answer.status
        assert server.stats()["connections"] >= 1


def test_chunked_off():
    with raw.Server("chunked=0") as server:
        with server.client() as c:
            c.send(f"POST /echo HTTP/1.1\r\nHost: x\r\n{TE}\r\n3\r\nabc\r\n0\r\n\r\n")
            answer = c.recv_answer()
            assert answer.status == 411 and answer.json()["code"] == "length_required"
            assert c.closed()
        with server.client() as c:
            assert c.post("/echo", b"abc").body == b"abc"


if __name__ == "__main__":
    raw.main(globals())

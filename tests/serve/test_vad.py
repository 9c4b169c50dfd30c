"""test_vad.py - clients/vad.py: recordings, segments, set-up, and streams through sessions.

Silero's file is not in the tree. A network with the same inputs and outputs, made here, takes its place; with
TEST_VAD_MODEL=silero_vad.onnx (or the wheel) the real one is streamed too, compared with stateless requests."""

import contextlib
import io
import json
import math
import os
import pathlib
import socket
import struct
import sys
import tempfile
import threading
import wave
import zipfile

import daemon
from golden import ROOT

sys.path.insert(0, str(ROOT / "clients"))
import vad

RATE, CHUNK, CONTEXT = 16000, 512, 64


def run(*arguments):
    """(status, standard output, standard error) of the client."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = vad.main([str(a) for a in arguments])
    return status, out.getvalue(), err.getvalue()


def refused(*arguments):
    status, out, err = run(*arguments)
    assert status == 1 and "real time" not in out and err.startswith("vad.py: "), (status, out, err)
    return err


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="recurd-vad-") as name:
        yield pathlib.Path(name)


# ---- a network with Silero's interface ----------------------------------------------------------------

def varint(n):
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])


def part(number, *values):
    """A protobuf member: one int as a varint, else text and bytes, joined, with their length."""
    if values and isinstance(values[0], int):
        return varint(number << 3) + varint(values[0])
    value = b"".join(v.encode() if isinstance(v, str) else v for v in values)
    return varint(number << 3 | 2) + varint(len(value)) + value


def node(kind, inputs, output, *attributes):
    return part(1, *(part(1, i) for i in inputs), part(2, output), part(4, kind), *attributes)


def axes(*numbers):
    return part(5, part(1, "axes"), *(part(8, n) for n in numbers), part(20, 7))


def constant(name, kind, data, *dims):
    return part(5, *(part(1, d) for d in dims), part(2, kind), part(8, name), part(9, data))


def values(place, name, kind, *dims):
    shape = part(2, *(part(1, part(1, d) if isinstance(d, int) else part(2, d)) for d in dims))
    return part(place, part(1, name), part(2, part(1, part(1, kind), shape)))


def loudness_net(state_name="state"):
    """stateN = state / 2 + mean |input| * sr / 16000, output = the mean of stateN: [1,576], [2,1,128] -> [1,1]."""
    graph = part(
        7,
        node("Abs", ["input"], "abs"), node("ReduceMean", ["abs"], "mean", axes(1)),
        node("Cast", ["sr"], "rate", part(5, part(1, "to"), part(3, 1), part(20, 2))),
        node("Mul", ["rate", "per_hz"], "gain"), node("Mul", ["mean", "gain"], "loud"),
        node("Mul", [state_name, "half"], "rest"), node("Add", ["rest", "loud"], "stateN"),
        node("ReduceMean", ["stateN"], "both", axes(0, 2)), node("Reshape", ["both", "column"], "output"),
        part(2, "loudness"),
        constant("per_hz", 1, struct.pack("<f", 1 / RATE)), constant("half", 1, struct.pack("<f", 0.5)),
        constant("column", 7, struct.pack("<2q", -1, 1), 2),
        values(11, "input", 1, "batch", "samples"), values(11, state_name, 1, 2, "batch", 128), values(11, "sr", 7),
        values(12, "output", 1, "batch", 1), values(12, "stateN", 1, 2, "batch", 128))
    return part(1, 8) + graph + part(8, part(2, 13))


def loudness(samples):
    """What that network answers, chunk by chunk."""
    sound = [0] * CONTEXT + [s / 32768 for s in samples]
    sound += [0] * (-len(samples) % CHUNK)
    answers, state = [], 0.0
    for at in range(0, len(sound) - CONTEXT, CHUNK):
        state = state / 2 + sum(map(abs, sound[at:at + CONTEXT + CHUNK])) / (CONTEXT + CHUNK)
        answers.append(state)
    return answers


# ---- recordings ---------------------------------------------------------------------------------------

def write_wav(path, samples, rate=RATE, channels=1, width=2):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples) if width == 2 else bytes(samples))
    return path


def tones(*pieces):
    """Samples of (milliseconds, amplitude) pieces; 200 Hz with an overtone."""
    samples = []
    for length, amplitude in pieces:
        for i in range(length * RATE // 1000):
            t = len(samples) / RATE
            samples.append(round(amplitude * (math.sin(1256.6 * t) + 0.3 * math.sin(7300 * t + i / 4000))))
    return samples


def test_chunks_carry_their_context():
    samples = [(37 * i) % 65536 - 32768 for i in range(2 * CHUNK + 5)]
    with folder() as d:
        recording = vad.Recording(write_wav(d / "a.wav", samples))
    assert (recording.chunks, recording.samples) == (3, len(samples))
    sound = [0] * CONTEXT + samples + [0] * (CHUNK - 5)
    for k in range(3):
        want = [s / 32768 for s in sound[CHUNK * k:CHUNK * (k + 1) + CONTEXT]]
        assert list(struct.unpack("<576f", recording.chunk(k))) == want, k
    with folder() as d:
        assert vad.Recording(write_wav(d / "a.wav", [1] * CHUNK)).chunks == 1
        assert vad.Recording(write_wav(d / "a.wav", [1])).chunks == 1


def test_recordings_that_are_refused():
    with folder() as d:
        good = write_wav(d / "good.wav", [1, 2, 3]).read_bytes()
        files = {
            "48k.wav": ("48000 Hz, 1 channel(s), 16 bits", lambda p: write_wav(p, [0] * 9, rate=48000)),
            "stereo.wav": ("16000 Hz, 2 channel(s)", lambda p: write_wav(p, [0] * 8, channels=2)),
            "8bit.wav": ("1 channel(s), 8 bits", lambda p: write_wav(p, [0] * 9, width=1)),
            "24bit.wav": ("24 bits", lambda p: write_wav(p, [0] * 9, width=3)),
            "float.wav": ("unknown format: 3", lambda p: p.write_bytes(good[:20] + b"\3" + good[21:])),
            "text.wav": ("no WAV file", lambda p: p.write_bytes(b"hello, this is not sound\n" * 9)),
            "short.wav": ("no WAV file", lambda p: p.write_bytes(good[:20])),
            "zero.wav": ("no WAV file", lambda p: p.write_bytes(b"")),
            "silent.wav": ("no samples", lambda p: write_wav(p, [])),
            "missing.wav": ("No such file", lambda p: None),
        }
        for name, (text, make) in files.items():
            make(d / name)
            error = refused("stream", d / name)
            assert text in error and name in error, (name, error)
            if "Hz" in text or "WAV" in text:
                assert "ffmpeg" in error, (name, error)
        # A writer into a pipe cannot know the size: what is there is read.
        (d / "pipe.wav").write_bytes(good[:40] + b"\xff\xff\xff\x7f" + good[44:] + b"\1")
        assert vad.Recording(d / "pipe.wav").samples == 3


# ---- segments -----------------------------------------------------------------------------------------

def events(probabilities, samples=None, **settings):
    """(chunk at which it was told, kind, sample) of each event; the chunk of the last is "end"."""
    segments = vad.Segments(**settings)
    found = [(k, *e) for k, p in enumerate(probabilities) if (e := segments.feed(p)) is not None]
    last = segments.finish(samples or len(probabilities) * CHUNK)
    assert segments.finish(0) is None  # told once
    return found + ([("end", *last)] if last else [])


def test_segments():
    pad = 480
    assert events([]) == events([0.1] * 50) == events([0.49] * 50) == []
    # Speech in the first chunk: the padding does not lead before the recording.
    assert events([0.5, 0.9]) == [(0, "start", 0), ("end", "end", 2 * CHUNK)]
    assert events([0.1, 0.9, 0.9], 1300) == [(1, "start", CHUNK - pad), ("end", "end", 1300)]
    # 100 ms are 3.125 chunks: the fourth after the first quiet one tells that speech ended there.
    assert events([0.1] * 3 + [0.9] * 4 + [0.1] * 9) == [
        (3, "start", 3 * CHUNK - pad), (11, "end", 7 * CHUNK + pad)]
    # A shorter pause is none; speech must come back to the threshold, though.
    assert events([0.9] + [0.1] * 4 + [0.5] + [0.1] * 4) == [(0, "start", 0), ("end", "end", 10 * CHUNK)]
    assert events([0.9] + [0.1] * 2 + [0.49] * 2 + [0.1] + [0.9]) == [
        (0, "start", 0), (5, "end", CHUNK + pad), (6, "start", 6 * CHUNK - pad), ("end", "end", 7 * CHUNK)]
    # Between the thresholds: neither starts nor ends.
    assert events([0.9] + [0.4] * 50) == [(0, "start", 0), ("end", "end", 51 * CHUNK)]
    assert events([0.4] * 20) == [] and events([0.9] + [0.35] * 20)[1][0] == "end"
    assert events([0.9] + [0.34] * 20)[1] == (5, "end", CHUNK + pad)
    assert events([0.9, 0.1, 0.9], silence_ms=0, pad_ms=0) == [
        (0, "start", 0), (1, "end", CHUNK), (2, "start", 2 * CHUNK), ("end", "end", 3 * CHUNK)]
    assert events([0.65, 0.9, 0.54], threshold=0.7, silence_ms=0) == [(1, "start", CHUNK - pad), (2, "end", 1024 + pad)]


# ---- set-up -------------------------------------------------------------------------------------------

def test_setup():
    with folder() as d:
        net = loudness_net()
        (d / "net.onnx").write_bytes(net)
        status, out, err = run("setup", d / "models", "--model", d / "net.onnx")
        assert status == 0 and not err and "recurd --models" in out, (status, out, err)
        made = d / "models" / "silero-vad"
        assert (made / "1" / "model.onnx").read_bytes() == net
        assert json.loads((made / "model.json").read_text())["state"] == [{"input": "state", "output": "stateN"}]
        assert sorted(p.name for p in made.rglob("*")) == ["1", "model.json", "model.onnx"]

        with zipfile.ZipFile(d / "silero_vad-9-py3-none-any.whl", "w") as wheel:
            wheel.writestr("silero_vad/data/silero_vad.onnx", net)
        assert run("setup", d / "models", "--model", d / "silero_vad-9-py3-none-any.whl", "--name", "b")[0] == 0
        assert (d / "models" / "b" / "1" / "model.onnx").read_bytes() == net

        (d / "old.onnx").write_bytes(loudness_net(state_name="h"))
        error = refused("setup", d / "models", "--model", d / "old.onnx", "--name", "c")
        assert "h, input, sr -> output, stateN" in error and "wanted: input, sr, state" in error, error
        for name, content in {"cut.onnx": net[:300], "text.onnx": b"version https://git-lfs", "empty.onnx": b"",
                              "bad.whl": b"PK"}.items():
            (d / name).write_bytes(content)
            assert name in refused("setup", d / "models", "--model", d / name, "--name", "c"), name
        assert "No such file" in refused("setup", d / "models", "--model", d / "none.onnx", "--name", "c")
        assert "cannot write" in refused("setup", d / "net.onnx", "--model", d / "net.onnx")
        assert not (d / "models" / "c").exists()


# ---- streams ------------------------------------------------------------------------------------------

class Served:
    """A daemon with the model that `setup` made of `file`; `stream` runs the client on samples."""

    def __init__(self, file):
        self.repository = daemon.Repository()
        status, _, err = run("setup", self.repository.path, "--model", file)
        assert status == 0, err

    def __enter__(self):
        self.daemon = daemon.Daemon(self.repository).__enter__()
        return self

    def __exit__(self, *reason):
        self.daemon.__exit__(*reason)
        self.repository.__exit__()

    def stream(self, samples, *options):
        """(lines printed, probabilities)."""
        wav, probabilities = self.repository.path / "a.wav", self.repository.path / "p.txt"
        write_wav(wav, samples)
        status, out, err = run("stream", wav, "--url", f"http://{self.daemon.address}",
                               "--pid", self.daemon.process.pid, "--probabilities", probabilities, *options)
        assert status == 0 and not err, (status, out, err)
        return out.splitlines(), [float(line) for line in probabilities.read_text().split()]

    def sessions(self):
        status, body, _ = self.daemon.call("GET", "/v2/models/silero-vad/sessions")
        assert status == 200, body
        return json.loads(body)["total"]


@contextlib.contextmanager
def loudness_served():
    with folder() as d:
        (d / "net.onnx").write_bytes(loudness_net())
        with Served(d / "net.onnx") as s:
            yield s


def test_stream():
    samples = tones((500, 20), (700, 16000), (600, 30), (400, 20000), (117, 10))
    want = loudness(samples)
    with loudness_served() as s:
        assert "warning" not in s.daemon.logged(), s.daemon.logged()
        lines, probabilities = s.stream(samples)
        worst = max(abs(a - b) for a, b in zip(probabilities, want, strict=True))
        assert worst < 1e-5, worst
        told = [f"{sample / RATE:10.3f} s  speech {kind}s" for _, kind, sample in events(want, len(samples))]
        assert len(told) == 4 and lines[:4] == told, (lines, told)
        assert lines[4].startswith("1 stream, 2.3 s of sound in ") and lines[4].endswith("times real time"), lines
        assert lines[-1].startswith("server: ") and len(lines) == 7, lines
        assert s.sessions() == 0

        lines, again = s.stream(samples, "--streams", "20")
        assert again == probabilities and lines[:4] == told, lines
        assert lines[4].startswith("20 streams, 46.3 s of sound") and lines[-1] == "all streams got the same bits"
        assert s.sessions() == 0

        # One chunk is one request with start and end.
        lines, one = s.stream(samples[:CHUNK])
        assert one == probabilities[:1] and s.sessions() == 0


def test_real_time():
    samples = tones((300, 20), (330, 16000))
    with loudness_served() as s:
        lines, probabilities = s.stream(samples, "--realtime", "--streams", "3")
        speed = float(lines[2].rpartition(": ")[2].split()[0])
        assert len(probabilities) == 20 and 0.05 < speed / 3 <= 1, lines


def test_silero():
    """Sessions against requests that send the state themselves: the same bits, one by one and 50 at once."""
    if not os.environ.get("TEST_VAD_MODEL"):
        print("skip test_silero: TEST_VAD_MODEL names no file")
        return
    samples = tones((300, 20), (900, 9000), (500, 15), (1200, 15000))
    with Served(os.environ["TEST_VAD_MODEL"]) as s:
        lines, probabilities = s.stream(samples)
        want, state = [], bytes(4 * 256)
        recording = vad.Recording(s.repository.path / "a.wav")
        for k in range(recording.chunks):
            head = json.dumps({"parameters": {"binary_data_output": True}, "inputs": [
                {"name": "input", "datatype": "FP32", "shape": [1, 576], "parameters": {"binary_data_size": 2304}},
                {"name": "state", "datatype": "FP32", "shape": [2, 1, 128], "parameters": {"binary_data_size": 1024}},
                {"name": "sr", "datatype": "INT64", "shape": [], "data": [RATE]}]}).encode()
            status, body, headers = s.daemon.call(
                "POST", "/v2/models/silero-vad/infer", head + bytes(recording.chunk(k)) + state,
                {"Inference-Header-Content-Length": str(len(head))})
            assert status == 200, body
            tensors = body[int(headers["Inference-Header-Content-Length"]):]
            want.append(struct.unpack("<f", tensors[:4])[0])
            state = tensors[4:]
        assert probabilities == [float(f"{p:.9f}") for p in want], (probabilities, want)
        assert max(want) != min(want)
        lines, again = s.stream(samples, "--streams", "50")
        assert again == probabilities and "all streams got the same bits" in lines, lines


# ---- a server that refuses ----------------------------------------------------------------------------

@contextlib.contextmanager
def scripted(*answers):
    """A server that gives these answers, one a request, on one connection; yields (its URL, the requests' JSON)."""
    requests = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            c, _ = listener.accept()
            with c, c.makefile("rb") as file:
                for answer in answers:
                    lengths = {}
                    while (line := file.readline().strip()):
                        name, _, value = line.partition(b":")
                        lengths[name.lower()] = value
                    body = file.read(int(lengths[b"content-length"]))
                    requests.append(json.loads(body[:int(lengths[b"inference-header-content-length"])])["parameters"])
                    for piece in (answer[:9], answer[9:]):  # arrives in two reads
                        c.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        thread.join(10)


def answer(status, body, headers=""):
    return f"HTTP/1.1 {status} X\r\ncontent-LENGTH: {len(body)}\r\n{headers}\r\n".encode() + body


def probability(value):
    return answer(200, b"{}" + struct.pack("<f", value), "Inference-Header-Content-Length: 2\r\n")


def test_answers_that_are_no_probability():
    with folder() as d:
        wav = write_wav(d / "a.wav", [1] * (3 * CHUNK))
        # A full server is asked again, with the same request.
        full = answer(429, b'{"error":"the queue is full"}', "Retry-After: 0\r\n")
        script = [full, probability(0.25), full, full, probability(0.75), probability(0.5)]
        with scripted(*script) as (url, requests):
            status, out, err = run("stream", wav, "--url", url, "--probabilities", d / "p.txt")
        assert status == 0 and "full 3 times" in out and not err, (status, out, err)
        assert (d / "p.txt").read_text().split() == ["0.250000000", "0.750000000", "0.500000000"]
        id_ = requests[0]["sequence_id"]
        start, middle, end = ({"sequence_id": id_, "sequence_start": True}, {"sequence_id": id_},
                              {"sequence_id": id_, "sequence_end": True})
        assert requests == [start, start, middle, middle, middle, end], requests

        for script, text in [
                ([answer(404, b'{"error":"there is no model"}')], "chunk 0: the server answers 404: there is no model"),
                ([probability(0.5), answer(500, b"oops")], "chunk 1: the server answers 500: oops"),
                ([answer(200, b"{}")], "wanted one float32"),
                ([answer(200, b"{}12345678", "Inference-Header-Content-Length: 2\r\n")], "wanted one float32"),
                ([b"HTTP/1.0 200 OK\r\n\r\n"], "no recurd"),
                ([probability(0.5), b""], "closed the connection at chunk 1")]:
            with scripted(*script) as (url, requests):
                error = refused("stream", wav, "--url", url)
            assert text in error, (text, error)
        assert "Connection refused" in refused("stream", wav, "--url", f"http://127.0.0.1:{daemon.free_port()}")
        for url in ("https://127.0.0.1", "127.0.0.1:8000", "http://127.0.0.1:x", "http://"):
            assert "is no URL like" in refused("stream", wav, "--url", url), url
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            assert "no process" in refused("stream", wav, "--pid", 2 ** 30, "--url", url)


if __name__ == "__main__":
    daemon.main(dict(globals()))

#!/usr/bin/env python3
"""vad.py - finds speech in a recording as it plays: Silero VAD in a recurd, one session a stream.

    vad.py setup MODELS_DIR [--model FILE.onnx]     makes MODELS_DIR/silero-vad for the server
    vad.py stream FILE.wav [--streams N] [...]      16 kHz, mono, 16 bit; 'stream --help' for the rest

Python's standard library only. The network is recurrent: it hears 512 samples (32 ms) at a time and hands
a state of 2 x 128 numbers on to the next call. That state stays in the server, in a session; the client
sends sound only: each chunk with the last 64 samples of the chunk before, as Silero's own wrapper does.
One thread serves all streams: each has a connection and one request under way."""

import argparse
import array
import heapq
import importlib.util
import json
import os
import pathlib
import re
import secrets
import selectors
import socket
import struct
import sys
import time
import urllib.parse
import wave
import zipfile

RATE = 16000  # samples a second
CHUNK, CONTEXT = 512, 64  # samples that a step hears, and those of the chunk before in front of them
ANSWER_S = 30  # without an answer for so long: give up
TRIES = 20  # of one request, when the server is full


class Failure(Exception):
    """What the user is told; no traceback."""


# ---- setup: the model's folder ------------------------------------------------------------------------

INPUTS, OUTPUTS = {"input", "state", "sr"}, {"output", "stateN"}
IN_PACKAGE = "silero_vad/data/silero_vad.onnx"
MODEL_JSON = {
    "description": "Silero VAD: how probable speech is in 512 samples at 16 kHz, given the 64 before them",
    "state": [{"input": "state", "output": "stateN"}],
    "batching": {"max_rows": 256},
    # A live stream sends every 32 ms: one that is silent for a minute is gone. 64M: 65536 streams.
    "sessions": {"idle_timeout_s": 60, "max_bytes": "64M", "overflow": "reject"},
    # A warm-up's values are zeros, and sr 0 counts as 8 kHz, where chunk and context are half as long.
    "warmup": [{"input": {"shape": [1, (CONTEXT + CHUNK) // 2]}, "sr": {"shape": []}}],
}
NO_MODEL = """no package silero_vad in this Python, and no --model FILE. The file is in a package on PyPI:
    pip download silero-vad --no-deps        then: --model silero_vad-VERSION-py3-none-any.whl
    pip install silero-vad --no-deps         then: no --model needed (only the file is used, not its code)"""


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def members(message, wanted):
    """The members of a protobuf message that have length and the number `wanted`."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        if tag & 7 == 0:
            _, at = varint(message, at)
            continue
        size, at = {1: (8, at), 5: (4, at)}.get(tag & 7) or varint(message, at)
        if tag >> 3 == wanted and tag & 7 == 2:
            yield message[at:at + size]
        at += size


def check_interface(data, origin):
    """There are several networks by this name; refuses those that this client cannot drive."""
    try:
        graph = next(members(data, 7))  # ModelProto.graph; its inputs are 11, its outputs 12
        names = [{bytes(name).decode() for value in members(graph, number) for name in members(value, 1)}
                 for number in (11, 12)]
    except (IndexError, StopIteration, ValueError):
        raise Failure(f"{origin} is no ONNX file") from None
    if names != [INPUTS, OUTPUTS]:
        found = " -> ".join(", ".join(sorted(n)) for n in names)
        raise Failure(f"{origin} has {found}; wanted: input, sr, state -> output, stateN (silero_vad.onnx, v5 or v6)")


def model_bytes(file):
    """(the model, where it is from): of a file, of a wheel, or of the installed package."""
    if file is None:
        package = importlib.util.find_spec("silero_vad")  # finds, does not import: that would need torch
        if package is None or not package.submodule_search_locations:
            raise Failure(NO_MODEL)
        file = pathlib.Path(package.submodule_search_locations[0]).parent / IN_PACKAGE
    try:
        if pathlib.Path(file).suffix == ".whl":
            with zipfile.ZipFile(file) as wheel:
                return wheel.read(IN_PACKAGE), f"{file}:{IN_PACKAGE}"
        return pathlib.Path(file).read_bytes(), str(file)
    except (OSError, KeyError, zipfile.BadZipFile) as e:
        raise Failure(f"cannot read {file}: {e}") from None


def write_whole(path, data):
    """A running server may read at any time: the file appears with all its bytes."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


def setup(args):
    data, origin = model_bytes(args.model)
    check_interface(memoryview(data), origin)
    folder = pathlib.Path(args.models_dir) / args.name
    try:
        (folder / "1").mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in MODEL_JSON.items())
        write_whole(folder / "model.json", f"{{\n{lines}\n}}\n".encode())
        write_whole(folder / "1" / "model.onnx", data)
    except OSError as e:
        raise Failure(f"cannot write: {e}") from None
    print(f"{folder}: model.json, 1/model.onnx from {origin}")
    print(f"serve it: recurd --models {args.models_dir}")
    return 0


# ---- the recording ------------------------------------------------------------------------------------

class Recording:
    """All its samples as little-endian float32, so that chunk k with its context is one slice of them."""

    def __init__(self, path):
        hint = f"convert it: ffmpeg -i {path} -ac 1 -ar {RATE} -c:a pcm_s16le OUT.wav"
        try:
            with wave.open(os.fspath(path), "rb") as file:
                found = (file.getframerate(), file.getnchannels(), 8 * file.getsampwidth())
                if found != (RATE, 1, 16):
                    raise Failure(f"{path} has {found[0]} Hz, {found[1]} channel(s), {found[2]} bits; "
                                  f"wanted: {RATE} Hz, 1 channel, 16 bits; {hint}")
                data = file.readframes(file.getnframes())
        except OSError as e:
            raise Failure(f"cannot read {path}: {e.strerror}") from None
        except (wave.Error, EOFError) as e:
            raise Failure(f"{path} is no WAV file of PCM samples ({e or 'it ends early'}); {hint}") from None
        samples = array.array("h", data[:len(data) // 2 * 2])
        if not samples:
            raise Failure(f"{path} has no samples")
        if sys.byteorder == "big":
            samples.byteswap()
        self.samples = len(samples)
        self.seconds = self.samples / RATE
        self.chunks = -(-self.samples // CHUNK)  # the last one is filled up with zeros
        sound = array.array("f", bytes(4 * CONTEXT))
        sound.extend(s / 32768 for s in samples)
        sound.extend(bytes(self.chunks * CHUNK - self.samples))
        if sys.byteorder == "big":
            sound.byteswap()
        self.sound = memoryview(sound).cast("B")

    def chunk(self, k):
        return self.sound[4 * CHUNK * k:4 * (CHUNK * (k + 1) + CONTEXT)]


# ---- from probabilities to segments -------------------------------------------------------------------

class Segments:
    """Speech starts at a probability of `threshold` and ends where it fell below `threshold - 0.15` and did
    not come back to `threshold` for `silence_ms`. The rule (and the padding) of Silero's VADIterator."""

    def __init__(self, threshold=0.5, silence_ms=100, pad_ms=30):
        self.threshold, self.low = threshold, threshold - 0.15
        self.silence, self.pad = RATE * silence_ms / 1000, RATE * pad_ms // 1000
        self.heard = 0  # samples
        self.start = self.quiet = None  # of the segment under way; the end of its first quiet chunk

    def feed(self, probability):
        """One chunk; returns ("start", sample), ("end", sample) or None."""
        self.heard += CHUNK
        if probability >= self.threshold:
            self.quiet = None
            if self.start is None:
                self.start = max(0, self.heard - CHUNK - self.pad)
                return "start", self.start
        elif probability < self.low and self.start is not None:
            if self.quiet is None:
                self.quiet = self.heard
            if self.heard - self.quiet >= self.silence:
                return self._end(self.quiet - CHUNK + self.pad)
        return None

    def finish(self, samples):
        """The recording ended; a segment under way ends with it."""
        return None if self.start is None else self._end(samples)

    def _end(self, sample):
        self.start = self.quiet = None
        return "end", sample


def print_event(event):
    if event is not None:
        print(f"{event[1] / RATE:10.3f} s  speech {event[0]}s", flush=True)


# ---- one stream: a connection and a session -----------------------------------------------------------

LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.I)
JSON_LENGTH = re.compile(rb"\r\ninference-header-content-length:[ \t]*(\d+)", re.I)
RETRY_AFTER = re.compile(rb"\r\nretry-after:[ \t]*(\d+)", re.I)


def request_head(where, name, parameters):
    """All of a request but the sound, which has always the same size."""
    inputs = [{"name": "input", "datatype": "FP32", "shape": [1, CONTEXT + CHUNK],
               "parameters": {"binary_data_size": 4 * (CONTEXT + CHUNK)}},
              {"name": "sr", "datatype": "INT64", "shape": [], "data": [RATE]}]
    outputs = [{"name": "output", "parameters": {"binary_data": True}}]
    body = json.dumps({"parameters": parameters, "inputs": inputs, "outputs": outputs}, separators=(",", ":"))
    return (f"POST /v2/models/{name}/infer HTTP/1.1\r\nHost: {where}\r\n"
            f"Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {len(body)}\r\n"
            f"Content-Length: {len(body) + 4 * (CONTEXT + CHUNK)}\r\n\r\n{body}").encode()


class Stream:
    def __init__(self, address, name, recording):
        self.recording = recording
        where = f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
        id_ = {"sequence_id": f"vad-{secrets.token_hex(8)}"}
        start, end = {"sequence_start": True}, {"sequence_end": True}
        self.middle = request_head(where, name, id_)
        self.ends = {0: request_head(where, name, id_ | start)}
        last = recording.chunks - 1
        self.ends[last] = request_head(where, name, id_ | end | (start if last == 0 else {}))
        self.next = self.tries = 0  # the chunk that is on its way or the next one; how often it was sent
        self.due = 0.0  # when that chunk was there to be sent
        self.probabilities = array.array("f")
        self.answer = bytearray()
        self.socket = socket.create_connection(address, timeout=ANSWER_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self):
        # Blocks for no time worth telling: the answer before this request is read, so the buffers are empty.
        self.tries += 1
        self.socket.sendall(b"".join((self.ends.get(self.next, self.middle), self.recording.chunk(self.next))))

    def receive(self):
        """Takes what is there. None: not a whole answer yet; 0: the chunk's probability is noted; else the
        server is full, and the seconds after which it wants to be asked again."""
        data = self.socket.recv(65536)
        if not data:
            raise Failure(f"the server closed the connection at chunk {self.next}")
        self.answer += data
        head_size = self.answer.find(b"\r\n\r\n")
        if head_size < 0:
            return None
        head = bytes(self.answer[:head_size])
        length = LENGTH.search(head)
        if length is None:
            raise Failure("an answer without Content-Length: this is no recurd")
        body = bytes(self.answer[head_size + 4:])
        if len(body) < int(length[1]):
            return None
        self.answer.clear()
        if head[9:12] in (b"429", b"503") and self.tries < TRIES:
            wait = RETRY_AFTER.search(head)
            return max(int(wait[1]) if wait else 1, 0.1)
        self._note(head, body)
        return 0

    def _note(self, head, body):
        if head[9:12] != b"200":
            try:
                text = json.loads(body)["error"]
            except (ValueError, KeyError, TypeError):
                text = body[:200].decode(errors="replace")
            raise Failure(f"chunk {self.next}: the server answers {head[9:12].decode()}: {text}")
        json_size = JSON_LENGTH.search(head)
        if json_size is None or len(body) - int(json_size[1]) != 4:
            raise Failure(f"chunk {self.next}: wanted one float32, the answer is {body[:200]!r}")
        self.probabilities.append(struct.unpack("<f", body[-4:])[0])
        self.next, self.tries = self.next + 1, 0


# ---- all streams --------------------------------------------------------------------------------------

class Run:
    """Sends each stream's next chunk when the one before is answered and, in real time, has been spoken."""

    def __init__(self, streams, realtime, tell):
        self.streams, self.realtime, self.tell = streams, realtime, tell
        self.waits = array.array("d")  # seconds from a chunk's being there to its answer
        self.full = 0  # answers that told to come again
        self.later = []  # heap of (time, number of the stream)
        self.open = len(streams)

    def go(self):
        with selectors.DefaultSelector() as selector:
            for i, stream in enumerate(self.streams):
                selector.register(stream.socket, selectors.EVENT_READ, i)
            self.begin = time.monotonic()
            for i in range(len(self.streams)):
                self._next(i, self.begin)
            while self.open:
                wait = max(0, self.later[0][0] - time.monotonic()) if self.later else ANSWER_S
                ready = selector.select(wait)
                if not ready and not self.later:
                    raise Failure(f"no answer for {ANSWER_S} s")
                for key, _ in ready:
                    self._receive(key.data, selector)
                while self.later and self.later[0][0] <= time.monotonic():
                    self.streams[heapq.heappop(self.later)[1]].send()
            self.seconds = time.monotonic() - self.begin

    def _next(self, i, now):
        stream = self.streams[i]
        stream.due = now
        if self.realtime:  # the streams began one after the other, within the time of a chunk
            stream.due = self.begin + (stream.next + 1 + i / len(self.streams)) * CHUNK / RATE
        if stream.due > now:
            heapq.heappush(self.later, (stream.due, i))
        else:
            stream.send()

    def _receive(self, i, selector):
        stream = self.streams[i]
        wait = stream.receive()
        if wait is None:
            return
        now = time.monotonic()
        if wait > 0:
            self.full += 1
            heapq.heappush(self.later, (now + wait, i))
            return
        self.waits.append(now - stream.due)
        if i == 0:
            self.tell(stream.probabilities[-1])
        if stream.next < stream.recording.chunks:
            self._next(i, now)
        else:
            selector.unregister(stream.socket)
            stream.socket.close()
            self.open -= 1


def core_seconds(pid):
    """User and system time of a process, all its threads."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as e:
        raise Failure(f"no process {pid}: {e.strerror}") from None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(run, audio, cores):
    waits = sorted(run.waits)
    n, ms = len(run.streams), [1000 * waits[int(q * (len(waits) - 1))] for q in (0.5, 0.99, 1)]
    print(f"{n} stream{'s' * (n > 1)}, {audio:.1f} s of sound in {run.seconds:.2f} s: "
          f"{audio / run.seconds:.1f} times real time")
    print(f"{len(waits)} chunks; answered after {ms[0]:.2f} ms (median), {ms[1]:.2f} (99 %), {ms[2]:.2f} (all)")
    if cores is not None:
        speed = f"one core does {audio / cores:.0f} times real time" if cores >= 0.05 else "too little to measure"
        print(f"server: {cores:.2f} core seconds; {speed}")
    if run.full:
        print(f"the server was full {run.full} times; those chunks were sent again")
    if n > 1:
        first = run.streams[0].probabilities
        odd = sum(s.probabilities != first for s in run.streams)
        print(f"{odd} streams got other numbers than the first" if odd else "all streams got the same bits")


def server(text):
    """(host, port) of a URL."""
    try:
        url = urllib.parse.urlsplit(text)
        if url.scheme == "http" and url.hostname:
            return url.hostname, url.port or 80
    except ValueError:
        pass
    raise Failure(f"{text!r} is no URL like http://127.0.0.1:8000")


def stream(args):
    recording, segments = Recording(args.file), Segments()
    address, name = server(args.url), urllib.parse.quote(args.name, safe="")
    try:
        streams = [Stream(address, name, recording) for _ in range(args.streams)]
        run = Run(streams, args.realtime, lambda p: print_event(segments.feed(p)))
        before = core_seconds(args.pid) if args.pid else 0
        run.go()
    except OSError as e:
        raise Failure(f"{args.url}: {e}") from None
    cores = core_seconds(args.pid) - before if args.pid else None
    print_event(segments.finish(recording.samples))
    if args.probabilities:
        pathlib.Path(args.probabilities).write_text("".join(f"{p:.9f}\n" for p in streams[0].probabilities))
    report(run, args.streams * recording.seconds, cores)
    return int(any(s.probabilities != streams[0].probabilities for s in streams))


def positive(text):
    if int(text) < 1:
        raise ValueError
    return int(text)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="speech in a recording, by Silero VAD in a recurd")
    parser.set_defaults(call=None)
    verbs = parser.add_subparsers(required=True, metavar="setup|stream")
    p = verbs.add_parser("setup", help="make the model's folder in a repository")
    p.add_argument("models_dir", metavar="MODELS_DIR")
    p.add_argument("--model", metavar="FILE", help="silero_vad.onnx, or the wheel; default: the installed package's")
    p.set_defaults(call=setup)
    q = verbs.add_parser("stream", help="send a recording, print when speech starts and ends")
    q.add_argument("file", metavar="FILE.wav")
    q.add_argument("--url", default="http://127.0.0.1:8000", help="of the server (%(default)s)")
    q.add_argument("--streams", type=positive, default=1, metavar="N",
                   help="so many sessions at once, all with this recording; prints the first one's segments")
    q.add_argument("--realtime", action="store_true", help="send each chunk when it would have been spoken")
    q.add_argument("--pid", type=positive, help="of the server on this machine: tells what it does on one core")
    q.add_argument("--probabilities", metavar="FILE", help="write the probability of each chunk, one a line")
    q.set_defaults(call=stream)
    for verb in (p, q):
        verb.add_argument("--name", default="silero-vad", help="of the model in the repository (%(default)s)")
    args = parser.parse_args(arguments)
    try:
        return args.call(args)
    except Failure as e:
        print(f"vad.py: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # sessions that were not ended expire


if __name__ == "__main__":
    sys.exit(main())

"""session_client.py - sessions of one model over one keep-alive connection; its stream of events.

Tensors go and come through the binary extension, as bytes: so bits are compared, not numbers."""

import collections
import http.client
import json
import threading
import urllib.parse

import daemon

Tensor = collections.namedtuple("Tensor", "datatype shape raw")


def infer_body(inputs, outputs=None, parameters=None):
    """(body, headers) of an infer request, all tensors binary. `outputs`: names; None: the default ones."""
    head = {"parameters": {"binary_data_output": True, **(parameters or {})},
            "inputs": [{"name": n, "datatype": t.datatype, "shape": list(t.shape),
                        "parameters": {"binary_data_size": len(t.raw)}} for n, t in inputs.items()]}
    if outputs is not None:
        head["outputs"] = [{"name": n, "parameters": {"binary_data": True}} for n in outputs]
    text = json.dumps(head).encode()
    return (b"".join([text, *(t.raw for t in inputs.values())]),
            {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))})


class Answer:
    """Of an infer request or a state: outputs {name: Tensor}, parameters, version."""

    def __init__(self, body, headers):
        n = int(headers.get("Inference-Header-Content-Length", len(body)))
        told, at = json.loads(body[:n]), n
        self.version, self.parameters, self.outputs = told["model_version"], told.get("parameters", {}), {}
        for o in told["outputs"]:
            size = o.get("parameters", {}).get("binary_data_size", 0)
            self.outputs[o["name"]] = Tensor(o["datatype"], tuple(o["shape"]), body[at:at + size])
            at += size
        assert at == len(body), f"{len(body) - at} bytes more than the outputs have"

    def __getitem__(self, name):
        return self.outputs[name].raw


class Refused(Exception):
    def __init__(self, status, body, headers):
        self.status, self.headers = status, headers
        try:
            self.told = json.loads(body)
            self.text, self.code = self.told["error"], self.told.get("code")
        except (ValueError, KeyError, TypeError):
            raise AssertionError(f"{status} without an error object: {body[:200]}") from None
        super().__init__(f"{status} {self.code}: {self.text}")


def refused(status, call, /, *arguments, **more):
    """The call must fail with this status (or one of these); the refusal."""
    try:
        answer = call(*arguments, **more)
    except Refused as e:
        assert e.status in (status if isinstance(status, tuple) else (status,)), f"{e}; expected {status}"
        return e
    raise AssertionError(f"no error, expected {status}; answer: {vars(answer) if hasattr(answer, '__dict__') else answer}")


def id_in_path(name):
    """The form of an id in a URL: only what could be taken for something else is quoted."""
    if isinstance(name, int):
        return str(name)
    if name.isdigit() or name.startswith('"') or name == "events":
        name = f'"{name}"'
    return urllib.parse.quote(name, safe="")


class Client:
    """One connection; a call that failed half-way closes it, and the next one opens another."""

    def __init__(self, port, model, timeout=120):
        self.model = model
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def send(self, method, path, body=None, headers=None):
        """(status, body, headers)."""
        try:
            self.connection.request(method, path, body, headers or {})
            r = self.connection.getresponse()
            return r.status, r.read(), r.headers
        except BaseException:
            self.connection.close()
            raise

    def expect(self, method, path, body=None, headers=None, status=200):
        """Body and headers of an answer that must have this status."""
        got, answer, answer_headers = self.send(method, path, body, headers)
        if got >= 400:
            raise Refused(got, answer, answer_headers)
        assert got == status, f"{method} {path}: {got}, expected {status}"
        return answer, answer_headers

    def told(self, *arguments, **more):
        return json.loads(self.expect(*arguments, **more)[0])

    # ---- infer ----

    def infer(self, inputs, outputs=None, version=None, **parameters):
        version = f"/versions/{version}" if version else ""
        body, headers = infer_body(inputs, outputs, parameters)
        return Answer(*self.expect("POST", f"/v2/models/{self.model}{version}/infer", body, headers))

    def step(self, name, inputs, outputs=None, start=False, end=False, step=None, **parameters):
        if start:
            parameters["sequence_start"] = True
        if end:
            parameters["sequence_end"] = True
        if step is not None:
            parameters["step"] = step
        return self.infer(inputs, outputs, sequence_id=name, **parameters)

    # ---- resources ----

    def path(self, name=None, rest="", **query):
        text = f"/v2/models/{self.model}/sessions"
        if name is not None:
            text += "/" + id_in_path(name)
        return text + rest + ("?" + urllib.parse.urlencode(query) if query else "")

    def create(self, **body):
        return self.told("POST", self.path(), json.dumps(body), status=201)

    def list(self, **query):
        return self.told("GET", self.path(**query))

    def describe(self, name):
        return self.told("GET", self.path(name))

    def delete(self, name):
        return self.told("DELETE", self.path(name))

    def state(self, name):
        """Answer whose outputs are the states, by the names of the inputs."""
        return Answer(*self.expect("GET", self.path(name, "/state", binary="true")))

    def put_state(self, name, inputs):
        body, headers = infer_body(inputs)
        return self.told("PUT", self.path(name, "/state"), body, headers)

    def export(self, name):
        body, headers = self.expect("GET", self.path(name, "/export"))
        assert headers["Content-Type"] == "application/octet-stream", headers["Content-Type"]
        return body

    def import_(self, name, data, **query):
        return self.told("POST", self.path(name, "/import", **query), data,
                         {"Content-Type": "application/octet-stream"}, status=201)

    def fork(self, name, new=None):
        return self.told("POST", self.path(name, "/fork"), json.dumps({} if new is None else {"id": new}), status=201)

    def snapshot(self, name, snapshot):
        return self.told("POST", self.path(name, "/snapshots"), json.dumps({"name": snapshot}), status=201)

    def snapshots(self, name):
        return self.told("GET", self.path(name, "/snapshots"))["snapshots"]

    def forget(self, name, snapshot):
        return self.told("DELETE", self.path(name, "/snapshots/" + urllib.parse.quote(snapshot, safe="")))

    def rewind(self, name, **where):
        return self.told("POST", self.path(name, "/rewind"), json.dumps(where))


class Events(threading.Thread):
    """The event stream of a model, read as it comes: a list of dicts with the event's kind."""

    def __init__(self, port, model):
        super().__init__(daemon=True)
        self.events, self.comments = [], 0
        self.client = Client(port, model)
        self.client.connection.request("GET", self.client.path(rest="/events"))
        self.answer = self.client.connection.getresponse()
        assert self.answer.status == 200, (self.answer.status, self.answer.read())
        self.type = self.answer.headers["Content-Type"]
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        sock = self.client.connection.sock
        if sock is not None:
            sock.shutdown(2)
        self.join(30)
        self.client.connection.close()

    def run(self):
        kind = None
        try:
            while line := self.answer.readline():
                key, _, value = line.decode().rstrip("\r\n").partition(": ")
                if key == "event":
                    kind = value
                elif key == "data":
                    self.events.append({"event": kind, **json.loads(value)})
                elif line.startswith(b":"):
                    self.comments += 1
        except (OSError, http.client.HTTPException, ValueError):
            pass  # closed: by us, or with the server

    def seen(self, **wanted):
        """The events that have these values."""
        return [e for e in list(self.events) if all(e.get(k) == v for k, v in wanted.items())]

    def wait(self, seconds=30, **wanted):
        assert daemon.until(lambda: self.seen(**wanted), seconds), f"no event {wanted} in {self.events}"
        return self.seen(**wanted)[0]

"""test_sessions_model.py - random operations on sessions from several threads against a model of what a session is.

usage: test_sessions_model.py RECURD. RECURD_TEST_SECONDS: how long each part goes on (5); RECURD_TEST_THREADS (6);
RECURD_TEST_SEED: the seed, which is printed (0: another one each time).

The model of a session is where it began (states) and the list of time steps since then. Every answer must be, bit for
bit, the last part of the answer to one request without a session that has all these time steps. A session that saw
anything of another one could not pass."""

import dataclasses
import random
import tempfile
import threading
import time

import daemon
from session_client import Client, Refused
from session_nets import GRU, LSTM, Models, seed, serve, setting

SECONDS = setting("SECONDS", 5.0)
SEED = seed()
THREADS = setting("THREADS", 6)
SESSIONS, RING, LONGEST = 8, 5, 400


@dataclasses.dataclass(frozen=True)
class State:
    """What a session has seen. `repeat`: the numbered request that led here, which may come again."""
    origin: tuple = ()
    inputs: tuple = ()
    steps: int = 0
    repeat: tuple = None

    def states(self):
        return dict(self.origin)


class Session:
    def __init__(self, state):
        self.now, self.line, self.snapshots = state, [], {}

    def move(self, state):
        """One request further."""
        self.line = (self.line + [self.now])[-RING:]
        self.now = state

    def jump(self, state):
        """To another place: what lay before is not in the ring of this one."""
        self.now, self.line = state, []


class Player(threading.Thread):
    """Plays with sessions of its own; stops at the first wrong answer."""

    def __init__(self, port, model, net, seed, stop, evicts):
        super().__init__()
        self.rng, self.net, self.stop, self.evicts = random.Random(seed), net, stop, evicts
        self.c, self.mark = Client(port, model), seed % 1000 + 1  # as a number, 0 is no session
        self.sessions, self.made, self.counts, self.evicted, self.error, self.log = {}, 0, {}, 0, None, []

    def run(self):
        try:
            while not self.stop.is_set():
                self.play()
            for name in list(self.sessions):
                self.guarded(self.look, name)
        except Exception as e:  # the thread's result
            self.error = e
        finally:
            self.c.connection.close()

    def play(self):
        name = self.rng.choice(list(self.sessions)) if self.sessions else None
        if name is None or len(self.sessions) < SESSIONS and self.rng.random() < 0.2:
            return self.guarded(self.begin, self.new_name())
        call = self.rng.choices(
            [self.step, self.numbered, self.again, self.start_anew, self.fork, self.snapshot, self.rewind, self.back,
             self.put, self.carry, self.finish, self.delete, self.fail, self.look],
            [30, 15, 12, 3, 8, 6, 6, 8, 4, 5, 3, 3, 6, 5])[0]
        return self.guarded(call, name)

    def guarded(self, call, name):
        self.log = (self.log + [f"{call.__name__} {str(name)[:16]}"])[-12:]
        try:
            call(name)
            self.counts[call.__name__] = self.counts.get(call.__name__, 0) + 1
        except Refused as e:
            if not self.evicts or "evicted" not in e.text or e.status not in (400, 410):
                raise
            self.sessions.pop(name, None)
            self.evicted += 1

    def refused(self, statuses, call, /, *arguments, **more):
        try:
            call(*arguments, **more)
        except Refused as e:
            if e.status not in statuses:
                raise
            return e
        raise AssertionError(f"no error, expected {statuses}")

    def new_name(self):
        self.made += 1
        if self.rng.random() < 0.3:
            return f"p{self.mark}/{self.made}" + "x" * self.rng.choice([0, 30, 90])
        number = self.mark * 10**6 + self.made // 2  # often both the number and the string of its digits
        return number if self.made % 2 else str(number)

    # ---- what is compared ----

    def some(self):
        return tuple(self.net.steps(self.rng, self.rng.choice([1, 1, 1, 2, 3, 5, 20])))

    def check(self, state, answer, steps):
        """The answer is of the request with these last `steps` time steps of the state's inputs."""
        want = self.net.whole(self.c, state.inputs, state.states())[0][-steps:]
        assert self.net.split(answer[self.net.output]) == want, f"{state.steps}: other bits"
        assert answer.parameters["step"] == state.steps, (answer.parameters, state.steps)

    def send(self, name, state, steps, number=None, **more):
        """The state after a request with these steps; it is right."""
        answer = self.c.step(name, self.net.inputs(steps), step=number, **more)
        after = State(state.origin, state.inputs + steps, state.steps + 1, (steps, number, more) if number else None)
        assert "repeated" not in answer.parameters
        self.check(after, answer, len(steps))
        return after

    # ---- operations ----

    def begin(self, name):
        if self.rng.random() < 0.3:
            self.c.create(id=name)
            self.sessions[name] = Session(State())
            return
        origin = self.net.random_states(self.rng) if self.rng.random() < 0.3 else {}
        steps = self.some()
        state = State(tuple(origin.items()))
        number = self.rng.choice([1, None])
        answer = self.c.step(name, self.net.inputs(steps, origin), start=True, step=number)
        after = State(state.origin, steps, 1)
        self.check(after, answer, len(steps))
        self.sessions[name] = Session(after)

    def step(self, name):
        s = self.sessions[name]
        if len(s.now.inputs) > LONGEST:
            return self.delete(name)
        s.move(self.send(name, s.now, self.some()))

    def numbered(self, name):
        s = self.sessions[name]
        if len(s.now.inputs) > LONGEST:
            return self.delete(name)
        s.move(self.send(name, s.now, self.some(), s.now.steps + 1))

    def again(self, name):
        """A numbered request comes twice; wrong numbers are refused."""
        s = self.sessions[name]
        if s.now.repeat:
            steps, number, more = s.now.repeat
            answer = self.c.step(name, self.net.inputs(steps), step=number, **more)
            assert answer.parameters.get("repeated") is True
            self.check(s.now, answer, len(steps))
            self.refused((409,), self.c.step, name, self.net.inputs(self.net.steps(self.rng, 1)), step=number)
        else:
            e = self.refused((409,), self.c.step, name, self.net.inputs(self.some()), step=s.now.steps + 2)
            assert e.told["expected_step"] == s.now.steps + 1

    def start_anew(self, name):
        steps, s = self.some(), self.sessions[name]
        after = self.send(name, State(), steps, start=True)
        s.jump(after)
        s.snapshots = {}

    def fork(self, name):
        new = self.new_name()
        self.c.fork(name, new)
        self.sessions[new] = Session(self.sessions[name].now)
        if len(self.sessions) > SESSIONS:
            self.finish(self.rng.choice([name, new]))

    def snapshot(self, name):
        s, label = self.sessions[name], self.rng.choice("abc")
        told = self.c.snapshot(name, label)
        assert told["steps"] == s.now.steps
        s.snapshots[label] = s.now

    def rewind(self, name):
        s = self.sessions[name]
        if not s.snapshots:
            return self.snapshot(name)
        label = self.rng.choice(sorted(s.snapshots))
        told = self.c.rewind(name, snapshot=label)
        assert told["steps"] == s.snapshots[label].steps
        return s.jump(s.snapshots[label])

    def back(self, name):
        s = self.sessions[name]
        if not s.line:
            return self.step(name)
        k = self.rng.randint(1, len(s.line))
        told = self.c.rewind(name, steps=k)
        assert told["steps"] == s.line[-k].steps, (k, told["steps"], s.line[-k].steps)
        s.now, s.line = s.line[-k], s.line[:-k]
        return None

    def put(self, name):
        s, states = self.sessions[name], self.net.random_states(self.rng)
        told = self.c.put_state(name, states)
        assert told["steps"] == s.now.steps
        s.jump(State(tuple(states.items()), (), s.now.steps))

    def carry(self, name):
        """Export, and import under a new or a living id."""
        s, data = self.sessions[name], self.c.export(name)
        to = self.new_name() if self.rng.random() < 0.5 else self.rng.choice(list(self.sessions))
        told = self.c.import_(to, data)
        assert told["steps"] == s.now.steps
        # where sessions are evicted, the one that is replaced may be gone, and its snapshots with it
        bare = dataclasses.replace(s.now, repeat=None)
        if to in self.sessions and not self.evicts:
            self.sessions[to].jump(bare)
        else:
            self.sessions[to] = Session(bare)

    def finish(self, name):
        s = self.sessions[name]
        self.send(name, s.now, self.some(), end=True)
        del self.sessions[name]
        self.refused((404, 410), self.c.describe, name)

    def delete(self, name):
        self.c.delete(name)
        del self.sessions[name]
        assert "START" in self.refused((400,), self.c.step, name, self.net.inputs(self.some())).text

    def fail(self, name):
        """A request that cannot be, somewhere in between."""
        x = self.net.inputs(self.some())
        wrong = {self.net.input: x[self.net.input]._replace(shape=(1, 1, 3), raw=bytes(12))}
        call = self.rng.choice([lambda: self.c.step(name, wrong), lambda: self.c.step(name, wrong, end=True),
                                lambda: self.c.step(name, wrong, start=True), lambda: self.c.step(name, x, ["none"]),
                                lambda: self.c.put_state(name, {"h0": x[self.net.input]})])
        e = self.refused((400, 410), call)
        if e.status == 410 or "START" in e.text:
            raise e

    def look(self, name):
        now = self.sessions[name].now
        told, a = self.c.describe(name), self.c.state(name)
        assert told["steps"] == now.steps == a.parameters["step"] and told["status"] in ("idle", "spilled"), told
        if now.inputs:
            assert a.outputs == self.net.whole(self.c, now.inputs, now.states())[1], "another state"
        elif now.origin:
            assert a.outputs == now.states(), "another state"


def play(sessions, net, evicts=False):
    print(f"     seed {SEED}, {SECONDS:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="recurd-state-") as folder, Models(m=(net, {"ring": RING, **sessions})) as models:
        with serve(models, "--state-dir", folder, "--batching-max-delay-us", "200") as d, Client(d.port, "m") as c:
            end, stop = time.monotonic() + SECONDS, threading.Event()
            players = [Player(d.port, "m", net, SEED + k, stop, evicts) for k in range(THREADS)]
            for p in players:
                p.start()
            spilled, spills = 0, sessions.get("overflow") == "spill"
            while time.monotonic() < end or time.monotonic() < end + 60 and (  # a slow machine needs more time
                    spills and not spilled or evicts and not any(p.evicted for p in players)):
                time.sleep(SECONDS / 5)
                spilled = max(spilled, len(c.list(limit=1000, status="spilled")["sessions"]))
                c.expect("POST", "/v2/repository/models/m/load", b"{}")
            stop.set()
            for p in players:
                p.join()
            told = c.list(limit=1)["total"]
            wrong = [(p.mark, p.log, p.error) for p in players if p.error]
            for mark, log, error in wrong:
                print(f"     player {mark}: {error!r} after {log}")
            assert not wrong, wrong[0][2]
            counts = {}
            for p in players:
                for k, v in p.counts.items():
                    counts[k] = counts.get(k, 0) + v
            print("    ", ", ".join(f"{v} {k}" for k, v in sorted(counts.items())), "-", sum(p.evicted for p in players),
                  "evicted")
            assert len(counts) >= 10, "too few kinds of operation for a test"
            assert (spilled > 0) == spills, spilled
            if not evicts:
                assert told == sum(len(p.sessions) for p in players), "the server has as many sessions as the players"
            return sum(p.evicted for p in players)


def test_plenty_of_room():
    play({}, LSTM)


def test_spill():
    """Room for two sessions of 832 bytes for each player, who forks: with less, all that are there can be in use at once, which
    is refused (503) as it must be."""
    play({"max_bytes": 2 * THREADS * 832, "overflow": "spill"}, LSTM)


def test_spill_while_the_keeper_writes():
    """A session that is on its way to the disk is not there yet."""
    for durable in ("snapshot", "commit"):
        play({"max_bytes": 12000, "overflow": "spill", "durable": durable, "snapshot_interval_s": 1}, LSTM)


def test_lru():
    assert play({"max_bytes": 12000, "overflow": "lru"}, GRU, evicts=True) > 0, "nothing was evicted"


if __name__ == "__main__":
    daemon.main(dict(globals()))

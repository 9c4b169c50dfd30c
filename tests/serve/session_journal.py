"""session_journal.py - what a client remembers of its sessions, to compare it with what a server has after a restart."""

from session_client import Refused, refused
from session_nets import seed

SEED = seed()


class Journal:
    """Of one session: the requests that were answered, and the one that is under way."""

    def __init__(self, name):
        self.name, self.done, self.answers, self.pending = name, [], [], None
        self.snapshots, self.ended = {}, None

    def inputs(self, n=None):
        return [s for request in self.done[:n] for s in request]

    def send(self, c, net, steps):
        """One more request; it is pending until its answer is here."""
        n = len(self.done) + 1
        self.pending = steps
        answer = c.step(self.name, net.inputs(steps), start=n == 1, step=n)
        assert answer.parameters["step"] == n, (answer.parameters, n)
        self.acknowledge(net, steps, answer)
        return answer

    def acknowledge(self, net, steps, answer):
        self.done.append(steps)
        self.answers += net.split(answer[net.output])
        self.pending = None

    def recover(self, c, net):
        """What the server has of it after a restart; the pending request is sent again."""
        if self.ended:
            refused((404, 410), c.describe, self.name)
            return
        try:
            steps = c.describe(self.name)["steps"]
        except Refused as e:
            if e.status in (404, 410) and self.ended is False:  # its end was under way
                self.ended = True
                return
            assert e.status == 404 and not self.done, f"session {self.name} with {len(self.done)} steps is lost: {e}"
            steps = 0
        self.ended = None
        allowed = (len(self.done), len(self.done) + 1) if self.pending else (len(self.done),)
        assert steps in allowed, f"session {self.name} has {steps} steps, {len(self.done)} were acknowledged"
        if self.pending:
            answer = self.send(c, net, self.pending)
            assert answer.parameters.get("repeated", False) == (steps == len(self.done)), answer.parameters
        told = {s["name"]: s["steps"] for s in c.snapshots(self.name)} if self.snapshots else {}
        for name, steps in self.snapshots.items():
            assert told.get(name) == steps, f"snapshot {name} of {self.name}: {told.get(name)} instead of {steps}"

    def verify(self, c, net):
        if self.done:
            assert net.whole(c, self.inputs())[0] == self.answers, f"session {self.name}: other bits"


def some_sessions(c, net, rng, n=12, requests=4):
    journals = [Journal(k + 1 if k % 2 else f"session {k}" + "x" * (k % 3 * 40)) for k in range(n)]
    for _ in range(requests):
        for j in journals:
            j.send(c, net, net.steps(rng, 2))
    return journals


def finish(c, net, journals, rng):
    """All answers of every session are those of its whole sequence, and its snapshots are where they were."""
    for j in journals:
        j.verify(c, net)
        for name, steps in j.snapshots.items() if j.ended is None else ():
            assert c.rewind(j.name, snapshot=name)["steps"] == steps
            more = net.steps(rng, 3)
            answer = c.step(j.name, net.inputs(more))
            assert net.split(answer[net.output]) == net.whole(c, j.inputs(steps) + more)[0][-3:], "other bits after a rewind"

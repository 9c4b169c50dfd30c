"""micro_batch.py - ONNX Runtime behind an asyncio queue: while one batch runs on a thread, the requests that arrive make
the next one. Session steps of equal lengths run together; whole sequences are padded to the longest, with their lengths."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import session_step

MOST = 64


class MicroBatch:
    def __init__(self, model, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.net = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.lengths = any(i.name == "lengths" for i in self.net.get_inputs())
        self.sessions, self.waiting, self.busy = session_step.Sessions(), [], False
        self.pool = ThreadPoolExecutor(1)

    async def ask(self, session, start, x):
        done = asyncio.get_running_loop().create_future()
        self.waiting.append((session, start, x, done))
        if not self.busy:
            self.busy = True
            asyncio.get_running_loop().create_task(self._run())
        return await done

    async def _run(self):
        await asyncio.sleep(0)  # whoever is readable in this turn of the loop joins
        while self.waiting:
            jobs, rest = [], []
            for job in self.waiting:
                fits = len(jobs) < MOST and (self.lengths or not jobs or job[2].shape[0] == jobs[0][2].shape[0])
                (jobs if fits else rest).append(job)
            self.waiting = rest
            try:
                answers = await asyncio.get_running_loop().run_in_executor(self.pool, self._batch, jobs)
                for job, y in zip(jobs, answers):
                    job[3].set_result(y)
            except Exception as e:  # every waiting request must hear of it
                for job in jobs:
                    job[3].set_exception(e)
        self.busy = False

    def _batch(self, jobs):
        longest = max(job[2].shape[0] for job in jobs)
        x = np.zeros((longest, len(jobs), jobs[0][2].shape[2]), np.float32)
        for i, job in enumerate(jobs):
            x[:job[2].shape[0], i] = job[2][:, 0]
        rows = None if jobs[0][0] is None else [self.sessions.find(job[0], job[1]) for job in jobs]
        zeros = np.zeros((1, len(jobs), session_step.HIDDEN), np.float32)
        feed = {"x": x, "h0": zeros if rows is None else self.sessions.h[:, rows],
                "c0": zeros if rows is None else self.sessions.c[:, rows]}
        if self.lengths:
            feed["lengths"] = np.array([job[2].shape[0] for job in jobs], np.int32)
        y, h, c = self.net.run(["y", "hn", "cn"], feed)
        if rows is not None:
            self.sessions.h[:, rows], self.sessions.c[:, rows] = h, c
        return [np.ascontiguousarray(y[:job[2].shape[0], i:i + 1]) for i, job in enumerate(jobs)]

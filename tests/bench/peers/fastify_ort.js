// fastify_ort.js PORT MODEL.onnx THREADS - a peer: Node's fastify and onnxruntime-node with micro-batching: while one batch
// runs, the requests that arrive make the next one.
'use strict';
const fastify = require('fastify')({ logger: false, bodyLimit: 1 << 28 });
const ort = require('onnxruntime-node');

const [port, model, threads] = process.argv.slice(2);
const HIDDEN = 256, INPUTS = 64, OUTPUTS = 32, MOST = 64, LENGTH = 'inference-header-content-length';
const states = new Map(); // session -> { h, c }
let net, waiting = [], busy = false;

async function run() {
  while (waiting.length > 0) {
    const jobs = waiting.slice(0, MOST);
    waiting = waiting.slice(MOST);
    const n = jobs.length, x = new Float32Array(n * INPUTS);
    const h0 = new Float32Array(n * HIDDEN), c0 = new Float32Array(n * HIDDEN);
    jobs.forEach((job, i) => {
      x.set(job.x, i * INPUTS);
      const state = states.get(job.session);
      if (state !== undefined && !job.start) {
        h0.set(state.h, i * HIDDEN);
        c0.set(state.c, i * HIDDEN);
      }
    });
    try {
      const out = await net.run({
        x: new ort.Tensor('float32', x, [1, n, INPUTS]),
        h0: new ort.Tensor('float32', h0, [1, n, HIDDEN]),
        c0: new ort.Tensor('float32', c0, [1, n, HIDDEN]),
      });
      jobs.forEach((job, i) => {
        states.set(job.session, { h: out.hn.data.slice(i * HIDDEN, (i + 1) * HIDDEN),
                                  c: out.cn.data.slice(i * HIDDEN, (i + 1) * HIDDEN) });
        job.resolve(out.y.data.subarray(i * OUTPUTS, (i + 1) * OUTPUTS));
      });
    } catch (e) {
      jobs.forEach((job) => job.reject(e));
    }
  }
  busy = false;
}

function ask(session, start, x) {
  return new Promise((resolve, reject) => {
    waiting.push({ session, start, x, resolve, reject });
    if (!busy) {
      busy = true;
      setImmediate(run); // whoever is readable in this turn of the loop joins
    }
  });
}

for (const type of ['application/json', 'application/octet-stream']) {
  fastify.removeContentTypeParser(type);
  fastify.addContentTypeParser(type, { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
}
fastify.post('/v2/models/lstm/infer', async (request, reply) => {
  const size = Number(request.headers[LENGTH] ?? request.body.length);
  const head = JSON.parse(request.body.subarray(0, size).toString());
  const { sequence_id: session, sequence_start: start } = head.parameters;
  const binary = head.inputs[0].data === undefined;
  const blob = request.body.subarray(size);
  const x = binary ? new Float32Array(blob.buffer.slice(blob.byteOffset, blob.byteOffset + blob.length))
    : Float32Array.from(head.inputs[0].data);
  const y = await ask(session, start, x);
  const entry = { name: 'y', datatype: 'FP32', shape: [1, 1, OUTPUTS] };
  const answer = { model_name: 'lstm', model_version: '1', outputs: [entry] };
  if (!binary) {
    entry.data = Array.from(y);
    return reply.type('application/json').send(JSON.stringify(answer));
  }
  entry.parameters = { binary_data_size: 4 * OUTPUTS };
  const text = Buffer.from(JSON.stringify(answer));
  return reply.type('application/octet-stream').header(LENGTH, text.length)
    .send(Buffer.concat([text, Buffer.from(y.buffer, y.byteOffset, 4 * OUTPUTS)]));
});

ort.InferenceSession.create(model, { intraOpNumThreads: Number(threads) }).then((session) => {
  net = session;
  return fastify.listen({ port: Number(port), host: '127.0.0.1' });
});

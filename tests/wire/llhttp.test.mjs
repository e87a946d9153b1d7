// SPDX-License-Identifier: Apache-2.0
// Our HTTP parser against llhttp (node's parser; npm's undici carries a WebAssembly build of it). Ours refuses more; but
// what it accepts, llhttp must read the same way, to the byte where the message ends: otherwise a request could be
// smuggled between a proxy that runs the one and a server that runs the other.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const folder = process.env.PINFOLD ? dirname(process.env.PINFOLD) : join(root, 'build');
const places = ['.', '../..'].map((up) => join(folder, up, 'tests', 'unit', 'http1_probe'));
const probe = process.env.HTTP1_PROBE ?? places.find(existsSync) ?? places[0];
const require = createRequire(import.meta.url);
const code = require('undici/lib/llhttp/llhttp-wasm.js');
const wasm = new WebAssembly.Module(typeof code === 'string' ? Buffer.from(code, 'base64') : code);

const PAUSED = 21;
const INVALID_METHOD = 6;

// ---- llhttp ----

let now; // what the callbacks write to
const text = (at, n) => Buffer.from(new Uint8Array(llhttp.memory.buffer, at, n)).toString('hex');
const llhttp = new WebAssembly.Instance(wasm, {
  env: {
    wasm_on_message_begin: () => 0,
    wasm_on_url: (_, at, n) => ((now.target += text(at, n)), 0),
    wasm_on_status: () => 0,
    wasm_on_header_field: (_, at, n) => {
      if (now.headers.length % 2 === 0) now.headers.push('');
      now.headers[now.headers.length - 1] += text(at, n);
      return 0;
    },
    wasm_on_header_value: (_, at, n) => {
      if (now.complete) return 0;
      if (now.headers.length % 2 === 1) now.headers.push('');
      now.headers[now.headers.length - 1] += text(at, n);
      return 0;
    },
    wasm_on_headers_complete: (p, status, upgrade, keepAlive) => {
      Object.assign(now, { head: true, status, upgrade: upgrade !== 0, keepAlive: keepAlive !== 0, headCount: now.headers.length });
      return status === 304 ? 1 : 0; // llhttp leaves it to its user that 304 has no body
    },
    wasm_on_body: (_, at, n) => ((now.content += text(at, n)), 0),
    wasm_on_message_complete: () => ((now.complete = true), PAUSED),
  },
}).exports;
llhttp._initialize?.();

function theirs(input, isRequest) {
  now = { target: '', headers: [], content: '', head: false, complete: false };
  const parser = llhttp.llhttp_alloc(isRequest ? 1 : 2);
  const at = llhttp.malloc(input.length + 1);
  new Uint8Array(llhttp.memory.buffer, at, input.length).set(input);
  const error = llhttp.llhttp_execute(parser, at, input.length);
  now.error = error === PAUSED && now.complete ? 0 : error;
  now.used = now.complete ? llhttp.llhttp_get_error_pos(parser) - at : input.length;
  now.methodNumber = isRequest ? llhttp.llhttp_get_method(parser) : 0;
  llhttp.free(at);
  llhttp.llhttp_free(parser);
  return now;
}

// ---- ours ----

function ours(cases) {
  const records = cases.map(({ input, request }) => {
    const head = Buffer.alloc(5);
    head.write(request ? 'Q' : 'S', 0);
    head.writeUInt32LE(input.length, 1);
    return Buffer.concat([head, input]);
  });
  const run = spawnSync(probe, { input: Buffer.concat(records), maxBuffer: 1 << 30 });
  assert.equal(run.status, 0, `${probe}: ${run.error ?? run.stderr}`);
  const lines = run.stdout.toString().trimEnd().split('\n').map((l) => JSON.parse(l));
  assert.equal(lines.length, cases.length);
  return lines;
}

// ---- comparing ----

// llhttp leaves the blanks behind a value to its user.
const trim = (hex) => Buffer.from(hex, 'hex').toString('latin1').replace(/^[ \t]+|[ \t]+$/g, '');
const sameHeaders = (mine, other) => JSON.stringify(mine.map(trim)) === JSON.stringify(other.map(trim));

// What is wrong with the pair of readings, or null.
function disagreement(mine, other, request) {
  if (mine.head === 'bad' || mine.body === 'bad') return null; // ours may refuse what it likes
  if (mine.head === 'more') return other.complete ? 'we want more of a head that llhttp takes for complete' : null;
  const method = Buffer.from(mine.method, 'hex').toString();
  if (other.error === INVALID_METHOD && request) return null; // a method that llhttp does not know
  if (method === 'CONNECT' || other.upgrade || mine.status === 101) return null; // no HTTP behind it; refused by our server
  if (other.error) return `we accept what llhttp refuses (${other.error})`;
  if (!other.head) return 'we accept a head that llhttp finds incomplete';
  if (request && mine.target !== other.target) return 'another target';
  if (!request && mine.status !== other.status) return 'another status';
  if (!sameHeaders(mine.headers, other.headers.slice(0, other.headCount))) return 'other headers';
  if (mine.content !== other.content) return 'another body';
  if ((mine.body === 'ok') !== other.complete) return 'another opinion whether the message is complete';
  if (other.complete && mine.used !== other.used) return 'another end of the message';
  if (mine.keep_alive && !other.keepAlive) return 'we keep a connection that llhttp closes';
  return null;
}

function compare(cases) {
  const verdicts = ours(cases);
  const count = { same: 0, stricter: 0, incomplete: 0 };
  cases.forEach(({ input, request }, i) => {
    const mine = verdicts[i];
    const other = theirs(input, request);
    const wrong = disagreement(mine, other, request);
    assert.equal(wrong, null, `${wrong}:\n${JSON.stringify(input.toString('latin1'))}\nours ${JSON.stringify(mine)}\nllhttp ${JSON.stringify(other)}`);
    if (mine.head === 'bad' || mine.body === 'bad') count.stricter += other.complete ? 1 : 0;
    else if (mine.body === 'ok') count.same++;
    else count.incomplete++;
  });
  return count;
}

// ---- inputs ----

const G = 'GET / HTTP/1.1\r\nHost: x\r\n';
const P = 'POST / HTTP/1.1\r\nHost: x\r\n';
const written = [
  `${G}\r\n`,
  `${G}X: \t a b \t\r\nY:\r\nZ: :\r\n\r\n`,
  `${G}Connection: close\r\n\r\n`,
  `${G}Connection: keep-alive, Close\r\n\r\n`,
  `${P}Content-Length: 5\r\n\r\nhelloGET /`,
  `${P}Content-Length: 0\r\n\r\n${G}\r\n`,
  `${P}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n${G}`,
  `${P}Transfer-Encoding: chunked\r\n\r\n5;a=b;c="d e"\r\nhello\r\nA\r\n0123456789\r\n00\r\nT: v\r\n\r\n`,
  `${P}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  `${P}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`,
  `${P}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  `${P}Transfer-Encoding: identity\r\n\r\nhello`,
  'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
  'DELETE /v1/sessions/s?x=y HTTP/1.1\r\nHost: x\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n',
];
const writtenResponses = [
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1',
  'HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n',
  'HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
  'HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
  'HTTP/1.0 200 OK\r\n\r\nuntil the end',
  'HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
];
const corpus = join(root, 'tests', 'fuzz', 'corpus', 'http1');
const seeds = [...written, ...writtenResponses].map((s) => Buffer.from(s, 'latin1'));
for (const name of readdirSync(corpus)) seeds.push(readFileSync(join(corpus, name)));

// The same numbers each time: a failure can be repeated.
function generator(seed) {
  let a = seed;
  return (n) => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

const words = ['\r\n', '\n', '\r', ' ', '\t', ':', '0', '00', 'chunked', 'Transfer-Encoding: chunked\r\n', 'Content-Length: 3\r\n',
  'Content-Length: 0\r\n', 'Host: y\r\n', ';', ';a', '="', ',', '\0', '\x7f', '\xff', '+', '-', '0x', 'HTTP/1.1', 'HTTP/1.0', '\r\n\r\n',
  '0\r\n\r\n', '3\r\nabc\r\n', 'Connection: close\r\n', ' \r\n', '\r\n ', '/', '?', '#', '%', 'X: y\r\n', 'X:\r\n', '\x0b', '\x0c'].map((w) => Buffer.from(w, 'latin1'));

function mutate(random) {
  let b = Buffer.from(seeds[random(seeds.length)]);
  for (let n = 1 + random(3); n > 0; n--) {
    const at = random(b.length + 1);
    const to = Math.min(b.length, at + random(12));
    const kind = random(5);
    if (kind === 0) b = Buffer.concat([b.subarray(0, at), b.subarray(to)]);
    else if (kind === 1) b = Buffer.concat([b.subarray(0, at), words[random(words.length)], b.subarray(at)]);
    else if (kind === 2) b = Buffer.concat([b.subarray(0, at), words[random(words.length)], b.subarray(to)]);
    else if (kind === 3) b = Buffer.concat([b.subarray(0, to), b.subarray(at)]);
    else if (b.length) b[at % b.length] = random(256);
  }
  return b;
}

const both = (input) => [{ input, request: true }, { input, request: false }];

test('llhttp: messages written by hand and the fuzz corpus', () => {
  assert.ok(existsSync(probe), `${probe} is not built`);
  const count = compare(seeds.flatMap(both));
  assert.ok(count.same >= 12, JSON.stringify(count));
});

test('llhttp: every cut of the hand-written messages', () => {
  const cases = seeds.slice(0, written.length + writtenResponses.length).flatMap((s) => {
    const cuts = [];
    for (let n = 0; n < s.length; n++) cuts.push(...both(s.subarray(0, n)));
    return cuts;
  });
  compare(cases);
});

test('llhttp: mutated messages', () => {
  const total = Number(process.env.LLHTTP_CASES ?? 40000);
  const random = generator(Number(process.env.LLHTTP_SEED ?? 1));
  const cases = [];
  for (let i = 0; i < total; i++) cases.push({ input: mutate(random), request: random(2) === 0 });
  const count = compare(cases);
  assert.ok(count.same > total / 100, JSON.stringify(count));
  console.log(`# ${total} messages: ${JSON.stringify(count)}`);
});

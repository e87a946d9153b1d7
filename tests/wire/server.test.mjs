// SPDX-License-Identifier: Apache-2.0
// Models, keys, and requests that are not what they should be.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { assertValid, makeSession, startServer } from './lib/server.mjs';

let server, client;
before(async () => {
  server = await startServer();
  client = server.client();
});
after(async () => {
  await server?.remove();
  assertValid();
});

test('models: list, page, get', async () => {
  const all = [];
  for await (const m of client.models.list({ limit: 2 })) all.push(m.id);
  assert.ok(all.includes('puppet'));
  assert.equal(new Set(all).size, all.length);
  assert.equal((await client.models.retrieve('puppet')).type, 'model');
  await assert.rejects(client.models.retrieve('nope'), Anthropic.NotFoundError);
});

test('keys: create, use, revoke at once; only admins may', async () => {
  const call = (method, path, body, key = server.key) =>
    fetch(`${server.url}/v1/pinfold/keys${path}`, { method, body: body && JSON.stringify(body), headers: { authorization: `Bearer ${key}` } });
  const made = await (await call('POST', '', { name: 'ci' })).json();
  assert.ok(made.key);
  const mine = server.client({ apiKey: made.key });
  await mine.beta.agents.list();
  assert.equal((await call('GET', '', undefined, made.key)).status, 403);
  const listed = await (await call('GET', '')).json();
  assert.ok(listed.data.some((k) => k.id === made.id));
  assert.ok(!JSON.stringify(listed).includes(made.key));
  assert.equal((await call('DELETE', `/${made.id}`)).status, 200);
  await assert.rejects(mine.beta.agents.list(), Anthropic.AuthenticationError);
});

const raw = (bytes, { end = true, ms = 3000 } = {}) =>
  new Promise((resolve, reject) => {
    const [host, port] = server.address.split(':');
    const s = connect({ host, port: Number(port) });
    let got = '';
    s.on('data', (d) => (got += d));
    s.on('close', () => resolve(got));
    s.on('error', () => resolve(got));
    s.setTimeout(ms, () => {
      s.destroy();
      resolve(got);
    });
    s.on('connect', () => (end ? s.end(bytes) : s.write(bytes)));
    s.on('timeout', () => reject);
  });
const auth = () => `Authorization: Bearer ${server.key}\r\nanthropic-beta: managed-agents-2026-04-01\r\n`;

test('malformed requests get the API error and lose nothing', async () => {
  const bad = [
    'GARBAGE\r\n\r\n',
    'GET /v1/agents HTTP/1.1\nHost: x\n\n',
    `POST /v1/agents HTTP/1.1\r\nHost: x\r\n${auth()}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `POST /v1/agents HTTP/1.1\r\nHost: x\r\n${auth()}Content-Length: +5\r\n\r\n{}`,
    `GET /v1/agents HTTP/1.1\r\nHost: x\r\nHost: y\r\n${auth()}\r\n`,
    `GET /v1/agents HTTP/1.1\r\nHost : x\r\n${auth()}\r\n`,
    `GET /v1/%2e%2e/x HTTP/1.1\r\nHost: x\r\n${auth()}\r\n`,
  ];
  for (const b of bad) {
    const answer = await raw(b);
    assert.match(answer, /^HTTP\/1\.1 400 /, JSON.stringify(b));
    assert.match(answer, /"invalid_request_error"/);
  }
  const long = await raw(`GET /v1/agents HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(40000)}\r\n\r\n`);
  assert.match(long, /^HTTP\/1\.1 431 /);
  const large = await raw(`POST /v1/agents HTTP/1.1\r\nHost: x\r\n${auth()}Content-Length: 99999999\r\n\r\n`);
  assert.match(large, /^HTTP\/1\.1 413 /);
  assert.match(large, /"request_too_large"/);
  await client.beta.agents.list();
});

test('bodies that are not JSON objects', async () => {
  const post = (body) =>
    fetch(`${server.url}/v1/agents`, {
      method: 'POST',
      body,
      headers: { authorization: `Bearer ${server.key}`, 'anthropic-beta': 'managed-agents-2026-04-01' },
    });
  for (const body of ['[]', '"x"', '{', '{"name":"a","name":"b"}', `{"a":${'['.repeat(100)}${']'.repeat(100)}}`, 'nul', '{"name":"\u0000"}']) {
    const res = await post(body);
    assert.equal(res.status, 400, body.slice(0, 40));
  }
});

test('half-sent requests and vanishing clients', async () => {
  await Promise.all(Array.from({ length: 50 }, () => raw(`POST /v1/agents HTTP/1.1\r\nHost: x\r\n${auth()}Content-Length: 500\r\n\r\n{"name`, { ms: 200, end: false })));
  const { session } = await makeSession(client);
  await Promise.all(
    Array.from({ length: 50 }, () => raw(`GET /v1/sessions/${session.id}/events/stream HTTP/1.1\r\nHost: x\r\n${auth()}\r\n`, { ms: 100, end: false })),
  );
  assert.equal((await client.beta.sessions.retrieve(session.id)).id, session.id);
});

test('pipelined requests are answered in order', async () => {
  const one = `GET /v1/models/puppet HTTP/1.1\r\nHost: x\r\n${auth()}\r\n`;
  const two = `GET /v1/models/nope HTTP/1.1\r\nHost: x\r\n${auth()}Connection: close\r\n\r\n`;
  const answer = await raw(one + one + two, { end: false });
  assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 404']);
});

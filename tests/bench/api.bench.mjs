// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { binary, makeSession, rolePid, say, startServer, turn } from '../wire/lib/server.mjs';
import { cpuSeconds, figure, median, rssKiB, skipped, wanted } from './lib.mjs';

const BETA = 'managed-agents-2026-04-01';
const plain = (server) => server.client({ fetch });

async function idleMemory(server) {
  if (!wanted('api-idle-memory')) return;
  await sleep(1000);
  const mib = rssKiB(rolePid(server, 'control')) / 1024;
  figure('api-idle-memory', { value: mib, unit: 'MiB', goal: '<=20MiB', ok: mib <= 20 });
}

async function getSession(server) {
  if (!wanted('api-get-session')) return;
  if (spawnSync('sh', ['-c', 'command -v wrk']).status !== 0) return skipped('api-get-session', 'wrk is not installed');
  const { session } = await makeSession(plain(server));
  const url = `${server.url}/v1/sessions/${session.id}`;
  const headers = ['-H', `Authorization: Bearer ${server.key}`, '-H', `anthropic-beta: ${BETA}`];
  const pid = rolePid(server, 'control');
  spawnSync('wrk', ['-t1', '-c16', '-d1s', ...headers, url]);
  const before = cpuSeconds(pid);
  const out = spawnSync('wrk', ['-t1', '-c16', '-d5s', ...headers, url], { encoding: 'utf8' }).stdout;
  const cpu = cpuSeconds(pid) - before;
  const n = Number(out.match(/(\d+) requests in/)[1]);
  if (/Non-2xx/.test(out)) throw new Error(out);
  figure('api-get-session', { value: n / cpu, unit: '/cpu-s', goal: '>=30000/cpu-s', ok: n / cpu >= 30000 });
}

async function idleStreams(server) {
  if (!wanted('api-stream-memory')) return;
  const { session } = await makeSession(plain(server));
  const [host, port] = server.address.split(':');
  const pid = rolePid(server, 'control');
  const head = `GET /v1/sessions/${session.id}/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.key}\r\nanthropic-beta: ${BETA}\r\n\r\n`;
  const before = rssKiB(pid);
  const sockets = [];
  const open = () =>
    new Promise((resolve, reject) => {
      const s = connect({ host, port: Number(port) }, () => s.write(head));
      s.once('data', () => resolve(s));
      s.once('error', reject);
      sockets.push(s);
    });
  const count = 10000;
  for (let i = 0; i < count; i += 100) await Promise.all(Array.from({ length: 100 }, open));
  await sleep(500);
  const each = (rssKiB(pid) - before) / count;
  figure('api-stream-memory', { value: each, unit: 'KiB', goal: '<=3KiB', ok: each <= 3 });
  for (const s of sockets) s.destroy();
  await sleep(500);
}

async function idleSessions(server) {
  if (!wanted('api-session-memory')) return;
  const client = plain(server);
  const { agent, environment } = await makeSession(client);
  const make = () => client.beta.sessions.create({ agent: agent.id, environment_id: environment.id });
  for (let i = 0; i < 300; i++) await make();
  const pid = rolePid(server, 'control');
  const before = rssKiB(pid);
  const count = 3000;
  for (let i = 0; i < count; i += 20) await Promise.all(Array.from({ length: 20 }, make));
  const each = Math.max(0, rssKiB(pid) - before) / count;
  figure('api-session-memory', { value: each, unit: 'KiB', goal: '<=1KiB', ok: each <= 1 });
}

// From POST events to the first byte of the model request, seen by a provider of the bench, without any sandbox.
async function postToModel() {
  if (!wanted('api-post-to-model')) return;
  let arrived;
  const provider = createServer((req, res) => {
    arrived?.(performance.now());
    req.resume();
    req.on('end', () => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      const put = (type, data) => res.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);
      put('message_start', { message: { id: 'm', type: 'message', role: 'assistant', model: 'fake', content: [], stop_reason: null, usage: { input_tokens: 1, output_tokens: 1 } } });
      put('content_block_start', { index: 0, content_block: { type: 'text', text: '' } });
      put('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'hi' } });
      put('content_block_stop', { index: 0 });
      put('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 1 } });
      put('message_stop', {});
      res.end();
    });
  });
  await new Promise((r) => provider.listen(0, '127.0.0.1', r));
  const config = `providers:\n  - name: fake\n    url: http://127.0.0.1:${provider.address().port}\n    key_env: FAKE_KEY\n    models: ["fake-*"]\n`;
  const server = await startServer({ config, env: { FAKE_KEY: 'k' } });
  try {
    const client = plain(server);
    const times = [];
    const commits = [];
    for (let i = 0; i < 60; i++) {
      const { session } = await makeSession(client, { agent: { model: 'fake-1' } });
      const t0 = performance.now();
      await client.beta.sessions.update(session.id, { title: `t${i}` });
      commits.push(performance.now() - t0);
      const at = new Promise((r) => (arrived = r));
      const start = performance.now();
      await client.beta.sessions.events.send(session.id, { events: [say('hello')] });
      times.push((await at) - start);
    }
    const value = median(times);
    const commit = median(commits);
    figure('api-post-to-model', { value, ref: commit, unit: 'ms', goal: '<=3ms+commit', ok: value <= 3 + commit });
  } finally {
    await server.remove();
    provider.close();
  }
}

// One message to the scripted model and back: the whole harness without a tool.
async function helloTurn(server) {
  if (!wanted('api-turn')) return;
  const client = plain(server);
  const { session } = await makeSession(client);
  const times = [];
  for (let i = 0; i < 40; i++) {
    const start = performance.now();
    await turn(client, session.id, say('hello'));
    times.push(performance.now() - start);
  }
  figure('api-turn', { value: median(times), unit: 'ms', goal: '-', ok: true });
}

function guestSize() {
  if (!wanted('sandbox-guest-size')) return;
  const path = process.env.PINFOLD_GUEST ?? `${binary.replace(/\/pinfold$/, '')}/src/guest/pinfold-guest`;
  const mib = statSync(path).size / 1048576;
  figure('sandbox-guest-size', { value: mib, unit: 'MiB', goal: '<=2MiB', ok: mib <= 2 });
}

export default async function () {
  guestSize();
  if (!['api-idle-memory', 'api-get-session', 'api-stream-memory', 'api-session-memory', 'api-turn', 'api-post-to-model'].some(wanted)) return;
  const server = await startServer();
  try {
    await idleMemory(server);
    await helloTurn(server);
    await getSession(server);
    await idleSessions(server);
    await idleStreams(server);
  } finally {
    await server.remove();
  }
  await postToModel();
}

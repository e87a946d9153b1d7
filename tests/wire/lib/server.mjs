// SPDX-License-Identifier: Apache-2.0
// A real server for one test file: its own data directory, a free port, stopped with the file.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import Anthropic, { toFile } from '@anthropic-ai/sdk';
import { check, checkError, checkResponse } from './validate.mjs';

export { Anthropic, toFile };

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
export const binary = process.env.PINFOLD ?? join(root, 'build', 'pinfold');
const usualImage = [process.env.PINFOLD_IMAGE_DIR ?? join(root, '.work', 'image')].find(existsSync) ?? null;
const problems = [];

// Looks at each record of a stream on its way through.
function sseCheck(where) {
  let text = '';
  const decoder = new TextDecoder();
  const look = (record) => {
    const event = record.match(/^event: (.*)$/m)?.[1];
    const data = record.match(/^data: (.*)$/m)?.[1];
    if (!event || data === undefined) throw new Error(`${where}: a record without event or data: ${record}`);
    if (event !== 'ping') check('StreamEvent', JSON.parse(data), `${where} ${event}`);
  };
  return new TransformStream({
    transform(chunk, controller) {
      text += decoder.decode(chunk, { stream: true });
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        try {
          look(text.slice(0, end));
        } catch (e) {
          problems.push(e);
        }
        text = text.slice(end + 2);
      }
      controller.enqueue(chunk);
    },
  });
}

// fetch for the SDK: every answer is validated before the SDK sees it.
export async function checkedFetch(input, init = {}) {
  const res = await fetch(input, init);
  const url = new URL(typeof input === 'string' ? input : input.url);
  if (!url.protocol.startsWith('http')) return res; // the SDK probes fetch with a data: URL
  const method = (init.method ?? 'GET').toUpperCase();
  const type = res.headers.get('content-type') ?? '';
  const where = `${method} ${url.pathname}`;
  if (!/^req_/.test(res.headers.get('request-id') ?? '')) problems.push(new Error(`${where}: no request-id header`));
  if (type.startsWith('text/event-stream')) {
    const body = res.body.pipeThrough(sseCheck(where));
    return new Response(body, { status: res.status, headers: res.headers });
  }
  if (type.includes('application/json')) {
    const value = await res.clone().json();
    try {
      if (res.ok) checkResponse(method, url, new Headers(init.headers), value);
      else checkError(value, where);
    } catch (e) {
      problems.push(e);
    }
  }
  return res;
}

// Throws what the validation found since the last call; every test file calls it last.
export function assertValid() {
  const found = problems.splice(0);
  if (found.length) throw new AggregateError(found, found.map((e) => e.message).join('\n'));
}

// The promise is rejected with this class of the SDK and a message like the pattern.
export const rejects = (p, cls, pattern) =>
  assert.rejects(p, (e) => {
    assert.ok(e instanceof cls, `${e.constructor.name}: ${e.message}`);
    assert.match(e.message, pattern);
    return true;
  });

export async function until(what, fn, ms = 20000) {
  const end = Date.now() + ms;
  for (;;) {
    const v = await fn();
    if (v) return v;
    if (Date.now() > end) throw new Error(`timed out waiting for ${what}`);
    await sleep(20);
  }
}

// `config` goes on where the mapping `sandbox` is open; `image` and `guest` stand for the usual ones (null: not named).
export async function startServer({ config, env = {}, data, keepListen = false, image = usualImage, guest = process.env.PINFOLD_GUEST } = {}) {
  const dir = data ?? mkdtempSync(join(tmpdir(), 'pinfold-wire-'));
  const args = ['serve', '--data', dir, '--listen', '127.0.0.1:0', '--log', 'json'];
  const text = config ?? '';
  writeFileSync(`${dir}.yaml`, `sandbox:\n  pool: 1\n${image ? `  image: ${image}\n` : ''}${guest ? `  guest: ${guest}\n` : ''}${text}`);
  args.push('--config', `${dir}.yaml`);
  if (!keepListen) rmSync(join(dir, 'listen'), { force: true });
  const child = spawn(binary, args, { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stdout.on('data', (d) => (log += d));
  child.stderr.on('data', (d) => (log += d));
  const exited = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })));
  const server = {
    dir,
    child,
    exited,
    log: () => log,
    async stop(signal = 'SIGTERM') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      const how = await exited;
      return how;
    },
    async remove() {
      await server.stop();
      rmSync(dir, { recursive: true, force: true });
      rmSync(`${dir}.yaml`, { force: true });
    },
  };
  exited.then(() => (server.dead = true));
  try {
    await until('the server', () => {
      if (server.dead) throw new Error(`the server ended:\n${log}`);
      return !keepListen && existsSync(join(dir, 'listen')) && findKey(dir);
    });
  } catch (e) {
    child.kill('SIGKILL');
    throw new Error(`${e.message}\n${log}`);
  }
  server.address = readFileSync(join(dir, 'listen'), 'utf8').trim().replace(/^https?:\/\//, '');
  server.url = `http://${server.address}`;
  server.key = findKey(dir);
  await until('the API', async () => {
    try {
      return (await fetch(`${server.url}/v1/models`, { headers: { 'x-api-key': server.key } })).ok;
    } catch {
      if (server.dead) throw new Error(`the server ended:\n${log}`);
      return false;
    }
  });
  server.client = (opts = {}) =>
    new Anthropic({ apiKey: server.key, baseURL: server.url, fetch: checkedFetch, maxRetries: 0, ...opts });
  return server;
}

function findKey(dir) {
  for (const p of [join(dir, 'admin.key'), join(dir, 'store', 'admin.key'), join(dir, 'control', 'admin.key')]) {
    try {
      const key = readFileSync(p, 'utf8').trim();
      if (key) return key;
    } catch {
      // not there yet
    }
  }
  return null;
}

// An agent, an environment and a session, ready to be written to.
export async function makeSession(client, { agent = {}, session = {}, environment = {} } = {}) {
  const a = await client.beta.agents.create({
    name: 'test',
    model: 'puppet',
    tools: [{ type: 'agent_toolset_20260401' }],
    ...agent,
  });
  const e = await client.beta.environments.create({
    name: `env ${Date.now()} ${Math.random()}`,
    config: { type: 'cloud', networking: { type: 'limited', allowed_hosts: [] } },
    ...environment,
  });
  const s = await client.beta.sessions.create({ agent: a.id, environment_id: e.id, ...session });
  return { agent: a, environment: e, session: s };
}

export const say = (text) => ({ type: 'user.message', content: [{ type: 'text', text }] });

// Opens the stream, sends, and collects events until the session is idle (or `stop` says so).
export async function turn(client, sessionId, events, { stop, stream: opts } = {}) {
  const stream = await client.beta.sessions.events.stream(sessionId, opts);
  const seen = [];
  await client.beta.sessions.events.send(sessionId, { events: [].concat(events) });
  for await (const ev of stream) {
    seen.push(ev);
    const done = stop ? stop(ev, seen) : ev.type === 'session.status_idle';
    if (done) break;
  }
  stream.controller.abort();
  return seen;
}

export const types = (events) =>
  events.filter((e) => !e.type.startsWith('event_')).map((e) => ('processed_at' in e && e.processed_at === null ? `${e.type}(null)` : e.type));

// The process of a role, by its command line ("pinfold role NAME …"), below this server.
export function rolePid(server, role) {
  for (const pid of descendants(server.child.pid)) {
    const words = cmdline(pid);
    if (words[1] === 'role' && words[2] === role) return pid;
  }
  return null;
}

export function descendants(pid) {
  const found = [];
  const walk = (p) => {
    let kids = '';
    try {
      kids = readFileSync(`/proc/${p}/task/${p}/children`, 'utf8');
    } catch {
      return;
    }
    for (const k of kids.trim().split(/\s+/).filter(Boolean).map(Number)) {
      found.push(k);
      walk(k);
    }
  };
  walk(pid);
  return found;
}

export function cmdline(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
  } catch {
    return [];
  }
}

export function alive(pid) {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

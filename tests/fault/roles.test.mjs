// SPDX-License-Identifier: Apache-2.0
// Every role killed at a bad moment; the death of the supervisor; what each role may not do.
import assert from 'node:assert/strict';
import { readFileSync, readlinkSync, readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import {
  alive,
  assertValid,
  cmdline,
  descendants,
  makeSession,
  rolePid,
  say,
  startServer,
  turn,
  until,
} from '../wire/lib/server.mjs';

let server, client;
before(async () => {
  server = await startServer({ env: { ANTHROPIC_API_KEY: 'sk-test-not-a-key-0123456789' } });
  client = server.client();
});
after(async () => {
  await server?.remove();
  assertValid();
});

const call = (tool, input) => `call ${tool} ${JSON.stringify(input)}`;
const script = (...lines) => say(['#puppet', ...lines].join('\n'));
const text = (e) => e.content.map((b) => b.text).join('');
const idle = (id, c = client) =>
  until(
    'idle',
    async () => {
      try {
        return (await c.beta.sessions.retrieve(id)).status === 'idle';
      } catch {
        return false;
      }
    },
    40000,
  );
const history = async (id, c = client) => {
  const all = [];
  for await (const e of c.beta.sessions.events.list(id, { limit: 1000 })) all.push(e);
  return all;
};

async function kill(role) {
  const pid = await until(role, () => rolePid(server, role));
  process.kill(pid, 'SIGKILL');
  await until(`${role} to be back`, () => {
    const now = rolePid(server, role);
    return now && now !== pid;
  });
}

test('kill -9 of control in the middle of a turn: the session goes on', async () => {
  const { session } = await makeSession(client);
  await client.beta.sessions.events.send(session.id, { events: [script('say one', '---', 'stall 1500', 'say two')] });
  await until('the request', async () => (await history(session.id)).some((e) => e.type === 'span.model_request_start'));
  await kill('control');
  await idle(session.id);
  const events = await history(session.id);
  assert.equal(events.at(-1).stop_reason.type, 'end_turn');
  assert.ok(events.some((e) => e.type === 'agent.message' && text(e) === 'one'));
  const starts = events.filter((e) => e.type === 'span.model_request_start');
  const ends = events.filter((e) => e.type === 'span.model_request_end');
  assert.equal(starts.length, ends.length);
});

test('kill -9 of control while a tool runs: its result is collected, it does not run twice', async () => {
  const { session } = await makeSession(client);
  await turn(client, session.id, script(call('bash', { command: 'true' }), 'say ready'));
  await client.beta.sessions.events.send(session.id, {
    events: [script(call('bash', { command: 'echo x >> /workspace/count; sleep 3; wc -l < /workspace/count' }), call('bash', { command: 'wc -l < /workspace/count' }), 'say done')],
  });
  await until('the tool', async () => (await history(session.id)).filter((e) => e.type === 'agent.tool_use').length === 2);
  await new Promise((r) => setTimeout(r, 1000));
  await kill('control');
  await idle(session.id);
  const results = (await history(session.id)).filter((e) => e.type === 'agent.tool_result');
  assert.equal(text(results[1]).trim(), '1');
  assert.ok(!results[1].is_error);
  assert.equal(text(results[2]).trim(), '1');
});

test('kill -9 of hands while a tool runs: an outcome is reported, the next tool works', async () => {
  const { session } = await makeSession(client);
  await turn(client, session.id, script(call('bash', { command: 'true' }), 'say ready'));
  await client.beta.sessions.events.send(session.id, {
    events: [script(call('bash', { command: 'echo x >> /workspace/count; sleep 3; echo ran' }), call('bash', { command: 'wc -l < /workspace/count' }), 'say done')],
  });
  await until('the tool', async () => (await history(session.id)).filter((e) => e.type === 'agent.tool_use').length === 2);
  await new Promise((r) => setTimeout(r, 1000));
  await kill('hands');
  await idle(session.id);
  const events = await history(session.id);
  const results = events.filter((e) => e.type === 'agent.tool_result');
  assert.equal(text(results.at(-1)).trim(), '1');
  assert.ok(text(results[1]) === 'ran' || /sandbox/.test(text(results[1])), text(results[1]));
  assert.equal(events.at(-1).stop_reason.type, 'end_turn');
});

test('kill -9 of gate during a request: it is retried, other sessions are unaffected', async () => {
  const other = await makeSession(client);
  const { session } = await makeSession(client);
  await client.beta.sessions.events.send(session.id, { events: [script('stall 2000', 'say after all')] });
  await until('the request', async () => (await history(session.id)).some((e) => e.type === 'span.model_request_start'));
  await kill('gate');
  await idle(session.id);
  const events = await history(session.id);
  assert.ok(events.some((e) => e.type === 'session.error' && e.error.retry_status.type === 'retrying'));
  assert.ok(events.some((e) => e.type === 'agent.message' && text(e) === 'after all'));
  const seen = await turn(client, other.session.id, say('hello'));
  assert.equal(seen.at(-1).stop_reason.type, 'end_turn');
});

test('kill -9 of puppet during a request: it is retried', async () => {
  const { session } = await makeSession(client);
  await client.beta.sessions.events.send(session.id, { events: [script('stall 2000', 'say again')] });
  await until('the request', async () => (await history(session.id)).some((e) => e.type === 'span.model_request_start'));
  await kill('puppet');
  await idle(session.id);
  assert.ok((await history(session.id)).some((e) => e.type === 'agent.message' && text(e) === 'again'));
});

test('no role has an environment, a key, or privileges it does not need', async () => {
  const pids = descendants(server.child.pid);
  const roles = Object.fromEntries(['control', 'hands', 'gate', 'puppet'].map((r) => [r, rolePid(server, r)]));
  for (const [role, pid] of Object.entries(roles)) {
    assert.ok(pid, role);
    assert.equal(readFileSync(`/proc/${pid}/environ`, 'utf8'), '', `${role} has an environment`);
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    assert.match(status, /^NoNewPrivs:\s+1$/m, role);
    assert.match(status, /^Seccomp:\s+2$/m, role);
    const uid = Number(status.match(/^Uid:\s+(\d+)/m)[1]);
    if (role === 'hands') continue;
    assert.notEqual(uid, 0, role);
    assert.match(status, /^CapEff:\s+0+$/m, role);
    assert.match(status, /^CapBnd:\s+0+$/m, role);
    assert.match(readFileSync(`/proc/${pid}/limits`, 'utf8'), /^Max core file size\s+0\s+0/m, role);
  }
  const uids = new Set(['control', 'gate', 'puppet'].map((r) => readFileSync(`/proc/${roles[r]}/status`, 'utf8').match(/^Uid:\s+(\d+)/m)[1]));
  assert.equal(uids.size, 3);
  const net = (pid) => readlinkSync(`/proc/${pid}/ns/net`);
  for (const r of ['control', 'hands', 'puppet']) assert.notEqual(net(roles[r]), net('self'), `${r} has the host's network`);
  for (const pid of [server.child.pid, ...pids]) {
    assert.ok(!cmdline(pid).join(' ').includes('sk-test-not-a-key'), 'the key is in an argument');
    let env = '';
    try {
      env = readFileSync(`/proc/${pid}/environ`, 'utf8');
    } catch {
      continue;
    }
    assert.ok(!env.includes('sk-test-not-a-key'), `the key is in the environment of ${cmdline(pid)}`);
  }
  assert.ok(!server.log().includes('sk-test-not-a-key'), 'the key is in the log');
});

test('the death of the supervisor leaves no process, and the next start resumes', async () => {
  const { session } = await makeSession(client);
  await client.beta.sessions.events.send(session.id, {
    events: [script(call('bash', { command: 'echo x >> /workspace/count; sleep 1; echo ok' }), 'stall 3000', 'say resumed')],
  });
  await until('the tool', async () => (await history(session.id)).some((e) => e.type === 'agent.tool_result'), 40000);
  const all = descendants(server.child.pid);
  assert.ok(all.length > 4);
  server.child.kill('SIGKILL');
  await until('all processes to end', () => all.every((p) => !alive(p)));
  server = await startServer({ data: server.dir });
  client = server.client();
  await idle(session.id);
  const events = await history(session.id);
  assert.ok(events.some((e) => e.type === 'agent.message' && text(e) === 'resumed'));
  const mounts = readFileSync('/proc/mounts', 'utf8');
  assert.ok(!mounts.includes(server.dir), 'a mount was left behind');
});

test('a second server on the same data is refused', async () => {
  await assert.rejects(startServer({ data: server.dir, keepListen: true }), /in use|another|locked|already/i);
  await client.beta.agents.list();
});

test('SIGTERM ends everything in order', async () => {
  const all = descendants(server.child.pid);
  const how = await server.stop();
  assert.equal(how.code, 0);
  assert.ok(all.every((p) => !alive(p)));
  assert.ok(readdirSync(server.dir).length > 0);
});

// SPDX-License-Identifier: Apache-2.0
// What users of comparable products suffer, one test each. The names are those of the list: A self-hosting, B losing state, C exec and streams.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { alive, Anthropic, assertValid, binary, cmdline, descendants, makeSession, rolePid, say, startServer, turn, until } from './lib/server.mjs';

const MIB = 1 << 20;
let server, client, platform;
before(async () => {
  // Nothing in its environment but PATH: no key, no licence, no address of anybody.
  server = await startServer();
  client = server.client();
});
after(async () => {
  await server?.remove();
  assertValid();
});

const call = (tool, input) => `call ${tool} ${JSON.stringify(input)}`;
const script = (...lines) => say(['#puppet', ...lines].join('\n'));
const text = (e) => e.content.map((b) => b.text).join('');
const results = (events) => events.filter((e) => e.type === 'agent.tool_result').map((e) => ({ text: text(e), error: !!e.is_error }));
async function bash(session, command, { c = client, ...input } = {}) {
  const seen = await turn(c, session.id, script(call('bash', { command, ...input }), 'say ok'));
  const [r] = results(seen);
  assert.equal(seen.at(-1).stop_reason?.type, 'end_turn');
  return r;
}
const history = async (id, c = client) => {
  const all = [];
  for await (const e of c.beta.sessions.events.list(id, { limit: 1000 })) all.push(e);
  return all;
};
const isIdle = async (id, c = client) => (await c.beta.sessions.retrieve(id)).status === 'idle';
const logged = (event, s = server) =>
  s
    .log()
    .split('\n')
    .filter((l) => l.includes(`"event":"${event}"`))
    .map((l) => JSON.parse(l));
const claims = (session, s = server) => logged('sandbox.claimed', s).filter((l) => l.session === session.id);
const runtime = (session, s = server) => {
  const id = claims(session, s).at(-1).sandbox;
  return descendants(s.child.pid).filter((p) => /^runsc/.test(cmdline(p)[0] ?? '') && cmdline(p).some((w) => w.includes(id)));
};
function killSandbox(session, s = server) {
  for (const p of runtime(session, s)) {
    try {
      process.kill(p, 'SIGKILL');
    } catch (e) {
      if (e.code !== 'ESRCH') throw e; // one of them takes the others with it
    }
  }
}
const everyProcess = () => readdirSync('/proc').filter((n) => /^\d+$/.test(n));

// ---- A: self-hosting without a cloud ----

let ten;
test('A1: ten sandboxes at once on one Linux box, nothing else needed', async () => {
  ten = await Promise.all(Array.from({ length: 10 }, async () => (await makeSession(client)).session));
  const answers = await Promise.all(ten.map((s, i) => bash(s, `echo ${i} > me; sleep 1; cat me; ls /workspace`)));
  answers.forEach((r, i) => assert.deepEqual(r, { text: `${i}\nme`, error: false }));
  platform = logged('hands.probed')[0].platform;
  // One program and one static guest: no service, no daemon but what the program starts by itself.
  const below = descendants(server.child.pid).map((p) => cmdline(p)[0] ?? '');
  assert.ok(below.every((name) => /pinfold|^runsc|^exe$|^\/proc\/self\/exe$/.test(name) || name === ''), below.join(' '));
  assert.equal(new Set(ten.map((s) => claims(s)[0].sandbox)).size, 10);
});

test('A2: the server and ten idle sandboxes fit a small box', () => {
  const rss = (pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  const all = descendants(server.child.pid).reduce((sum, p) => sum + rss(p), 0);
  const roles = ['control', 'hands', 'gate', 'puppet'].reduce((sum, r) => sum + rss(rolePid(server, r)), rss(server.child.pid));
  assert.ok(all < 2048 * MIB, `${Math.round(all / MIB)} MiB with ten sandboxes`);
  assert.ok(roles < 256 * MIB, `${Math.round(roles / MIB)} MiB without`);
});

test('A3: doctor tests the host with a real sandbox and says what to do; the first call of a new server works', async () => {
  // The sandboxes of A1 were the first of this server, with nothing set up before.
  assert.equal(claims(ten[0])[0].generation, 1);
  const dir = mkdtempSync(join(tmpdir(), 'pinfold-doctor-'));
  const doctor = (config, data) => {
    writeFileSync(join(dir, 'c.yaml'), config);
    const r = spawnSync(binary, ['doctor', '--json', '--config', join(dir, 'c.yaml'), '--data', data ?? join(dir, 'data')], { encoding: 'utf8', timeout: 60000 });
    return { code: r.status, ...JSON.parse(r.stdout) };
  };
  try {
    const own = readFileSync(`${server.dir}.yaml`, 'utf8');
    const good = doctor(`${own}  platform: ${platform}\n`);
    assert.equal(good.code, 0, JSON.stringify(good));
    assert.equal(good.checks.find((c) => c.name === 'sandbox').state, 'ok');
    const bad = doctor('sandbox:\n  runsc: /nonexistent/runsc\n');
    assert.notEqual(bad.code, 0);
    assert.equal(bad.ok, false);
    const failed = bad.checks.filter((c) => c.state !== 'ok');
    assert.ok(failed.some((c) => /runsc/.test(c.text) && c.advice), JSON.stringify(failed));
    for (const c of failed) assert.ok(c.advice === null || c.advice.length > 10);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('A4: a broken sandbox is recovered by the next call, as often as it breaks, with its workspace', async () => {
  const { session } = await makeSession(client);
  for (let i = 1; i <= 3; i++) {
    const r = await bash(session, `echo ${i} >> log; cat log | tr '\\n' ' '`);
    assert.equal(r.text.trim(), Array.from({ length: i }, (_, k) => k + 1).join(' '));
    const before = logged('sandbox.gone').length;
    killSandbox(session);
    await until('its end', () => logged('sandbox.gone').length > before);
  }
  assert.deepEqual(claims(session).map((c) => c.generation), [1, 2, 3]);
});

// Remote addresses of the TCP and UDP sockets that the process holds.
function peersOf(pid) {
  const own = new Set();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      own.add(readlinkSync(`/proc/${pid}/fd/${fd}`).match(/^socket:\[(\d+)\]/)?.[1]);
    } catch {
      // closed meanwhile
    }
  }
  return ['tcp', 'tcp6', 'udp', 'udp6'].flatMap((kind) =>
    readFileSync(`/proc/${pid}/net/${kind}`, 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .map((l) => l.trim().split(/\s+/))
      .filter((w) => own.has(w[9]))
      .map((w) => w[2]),
  );
}

test('A5: no key and no licence is needed, and nobody is called', async () => {
  assert.ok((await client.beta.models.list()).data.some((m) => m.id === 'puppet'));
  const { session } = await makeSession(client);
  const seen = new Set();
  let running = true;
  const work = bash(session, 'sleep 1; echo done').finally(() => (running = false));
  while (running) {
    for (const pid of [server.child.pid, ...descendants(server.child.pid)]) {
      try {
        peersOf(pid).forEach((p) => seen.add(p));
      } catch {
        // it ended
      }
    }
    await sleep(20);
  }
  assert.equal((await work).text, 'done');
  // Loopback, or a listening socket's nothing.
  for (const p of seen) assert.match(p, /^(0100007F|0{8}|0{32}|0{24}01000000|0{16}FFFF00000100007F):/, `a connection to ${p}`);
});

for (const [name, options, step, words] of [
  ['the image is missing', { image: '/nonexistent/image' }, 'image', /no image at \/nonexistent\/image: run "pinfold image build"/],
  ['the runtime is missing', { config: '  runsc: /nonexistent/runsc\n' }, 'platform', /\/nonexistent\/runsc cannot be executed/],
  // It ends at once: before or after the runtime has said that it runs.
  ['the guest does not speak', { guest: '/bin/true' }, '(guest-hello|runsc)', /ended before its guest connected|ended at once/],
]) {
  test(`A6: a sandbox that cannot start names the step: ${name}`, async () => {
    const s = await startServer({ ...options, config: options.config ?? `  platform: ${platform}\n` });
    try {
      const c = s.client();
      const { session } = await makeSession(c);
      const began = Date.now();
      const r = await bash(session, 'true', { c });
      assert.ok(Date.now() - began < 30000);
      assert.ok(r.error);
      const named = r.text.match(/^The sandbox could not be started \(step ([a-z-]+)\): /)?.[1] ?? '';
      assert.match(named, new RegExp(`^${step}$`), r.text);
      assert.match(r.text, words);
      await until('the line for the operator', () => logged('sandbox.start', s).some((l) => l.step === named));
      // Sessions without tools go on.
      const seen = await turn(c, session.id, script('say hello'));
      assert.equal(seen.at(-1).stop_reason.type, 'end_turn');
    } finally {
      await s.remove();
    }
  });
}

// ---- B: losing state ----

// Kills the supervisor; gives what must not be there afterwards.
async function crash(s) {
  const all = descendants(s.child.pid);
  s.child.kill('SIGKILL');
  await until('all processes to end', () => all.every((p) => !alive(p)));
}

test('B9: a restart keeps the conversation and the files, and leaves no sandbox behind', async () => {
  let s = await startServer({ config: `  platform: ${platform}\n` });
  try {
    let c = s.client();
    const { session } = await makeSession(c);
    await bash(session, 'echo precious > /workspace/file; echo result > /mnt/session/outputs/out', { c });
    const find = async () => (await c.beta.files.list({ scope_id: session.id, betas: ['managed-agents-2026-04-01'] })).data;
    await until('the output', async () => (await find()).length === 1);
    const before = await history(session.id, c);
    const files = await find();
    const boxes = logged('sandbox.claimed', s).map((l) => l.sandbox);
    // Looking again does not make a new one.
    await (await c.beta.sessions.events.stream(session.id)).controller.abort();
    assert.equal((await bash(session, 'cat /workspace/file', { c })).text, 'precious');
    assert.equal(claims(session, s).length, 1);
    const told = await history(session.id, c);
    assert.deepEqual(told.slice(0, before.length), before);
    for (const how of ['SIGKILL', 'SIGTERM']) {
      if (how === 'SIGKILL') await crash(s);
      else await s.stop(how);
      s = await startServer({ data: s.dir, config: `  platform: ${platform}\n` });
      c = s.client();
      assert.ok(await isIdle(session.id, c));
      assert.deepEqual((await history(session.id, c)).slice(0, told.length), told);
      assert.deepEqual(await find(), files);
      const left = everyProcess().filter((p) => boxes.some((b) => cmdline(p).some((w) => w.includes(b))));
      assert.deepEqual(left, [], 'a sandbox of before runs');
      assert.ok(!readFileSync('/proc/mounts', 'utf8').includes(s.dir));
      assert.equal((await bash(session, 'cat /workspace/file', { c })).text, 'precious');
    }
    assert.equal(await (await c.beta.files.download(files[0].id)).text(), 'result\n');
  } finally {
    await s.remove();
  }
});

test('B10: sandboxes that vanish together are each told with a reason, and each comes back', async () => {
  const sessions = ten.slice(0, 6);
  await Promise.all(sessions.map((s) => bash(s, 'echo mine > vanish')));
  const running = sessions.map((s) => bash(s, 'sleep 30'));
  await until('six tools', async () => (await Promise.all(sessions.map(async (s) => (await history(s.id)).at(-1).type !== 'session.status_idle'))).every(Boolean));
  await sleep(500);
  sessions.forEach((s) => killSandbox(s));
  for (const r of await Promise.all(running)) {
    assert.ok(r.error);
    assert.match(r.text, /^The sandbox was lost while this tool ran/);
  }
  for (const s of sessions) await until('its line', () => logged('sandbox.gone').some((l) => l.session === s.id && l.reason === 'exited'));
  for (const r of await Promise.all(sessions.map((s) => bash(s, 'cat vanish')))) assert.deepEqual(r, { text: 'mine', error: false });
});

test('B11: a tool that works is not evicted as idle; an idle sandbox is, and comes back', async () => {
  const s = await startServer({ config: `  platform: ${platform}\n  idle: 1s\n` });
  try {
    const c = s.client();
    const { session } = await makeSession(c);
    assert.deepEqual(await bash(session, 'echo kept > f; sleep 4; echo done', { c }), { text: 'done', error: false });
    assert.equal(logged('sandbox.gone', s).length, 0);
    await until('its eviction', () => logged('sandbox.gone', s).some((l) => l.session === session.id && l.reason === 'idle'));
    assert.deepEqual(await bash(session, 'cat f', { c }), { text: 'kept', error: false });
  } finally {
    await s.remove();
  }
});

test('B12: after a crash every run goes on by itself', async () => {
  let s = await startServer({ config: `  platform: ${platform}\n` });
  try {
    let c = s.client();
    const [thinking, working, waiting] = await Promise.all([1, 2, 3].map(async () => (await makeSession(c)).session));
    await bash(working, 'true', { c });
    const send = (session, ...events) => c.beta.sessions.events.send(session.id, { events });
    await send(thinking, script('stall 4000', 'say thought'));
    await send(working, script(call('bash', { command: 'echo x >> count; sleep 4' }), call('bash', { command: 'wc -l < count' }), 'say worked'));
    await send(waiting, script('error 529', 'say waited'));
    await until('all to be under way', async () => {
      const [a, b, d] = await Promise.all([thinking, working, waiting].map((x) => history(x.id, c)));
      return a.some((e) => e.type === 'span.model_request_start') && b.filter((e) => e.type === 'agent.tool_use').length === 2 && d.some((e) => e.type === 'session.error');
    });
    await sleep(500);
    await crash(s);
    s = await startServer({ data: s.dir, config: `  platform: ${platform}\n` });
    c = s.client();
    for (const [session, word] of [
      [thinking, 'thought'],
      [working, 'worked'],
      [waiting, 'waited'],
    ]) {
      await until(`${word}`, () => isIdle(session.id, c), 40000);
      const events = await history(session.id, c);
      assert.equal(events.at(-1).stop_reason.type, 'end_turn');
      assert.equal(events.filter((e) => e.type === 'agent.message' && text(e) === word).length, 1);
    }
    // The tool that ran was not run twice: its result says that nobody knows, and the file has one line.
    const [, lost, count] = results(await history(working.id, c));
    assert.ok(lost.error);
    assert.match(lost.text, /unknown whether and how far it ran/);
    assert.equal(count.text.trim(), '1');
  } finally {
    await s.remove();
  }
});

// ---- C: exec and streams that lie or hang ----

test('C13: an exit status is what the process ended with, or unknown', async () => {
  const { session } = await makeSession(client);
  for (const [command, want] of [
    ['true', { text: '(no output)', error: false }],
    ['(exit 37)', { text: 'exit 37', error: true }],
    ['(exit 255)', { text: 'exit 255', error: true }],
    ["{ bash -c 'kill -9 $$'; } 2>/dev/null", { text: 'exit 137', error: true }],
    ["{ bash -c 'kill -TERM $$'; } 2>/dev/null", { text: 'exit 143', error: true }],
    ['/nonexistent/program 2>/dev/null', { text: 'exit 127', error: true }],
    // What looks like the shell's own words is text.
    ["printf 'exit 0\\n'; (exit 3)", { text: 'exit 0', error: true }],
  ]) {
    assert.deepEqual(await bash(session, command), want, command);
  }
  // No result while it runs, and none but "unknown" when the sandbox dies under it.
  const running = bash(session, 'echo "all fine"; sleep 30; echo "exit 0"');
  await until('the tool', async () => (await history(session.id)).at(-1).type !== 'session.status_idle');
  await sleep(1000);
  const events = await history(session.id);
  const last = events.findLast((e) => e.type === 'agent.tool_use');
  assert.ok(!events.some((e) => e.type === 'agent.tool_result' && e.tool_use_id === last.id));
  killSandbox(session);
  const r = await running;
  assert.ok(r.error);
  assert.match(r.text, /unknown whether and how far it ran/);
  assert.ok(!/all fine|exit 0/.test(r.text));
  const end = await until('its line', () => logged('sandbox.gone').findLast((l) => l.session === session.id));
  assert.equal(end.exit, 137);
});

test('C14: exec keeps its time limit, and the sandbox works as before', async () => {
  const { session } = await makeSession(client);
  await bash(session, 'echo kept > f');
  for (const command of ['sleep 60', 'while :; do :; done', 'cat < <(sleep 60)', 'trap "" TERM INT; sleep 60', 'exec 3< <(yes); cat <&3 > /dev/null']) {
    const began = Date.now();
    assert.deepEqual(await bash(session, command, { timeout_ms: 700 }), { text: 'bash: bash command timed out after 700ms', error: true }, command);
    assert.ok(Date.now() - began < 10000, command);
    const quick = Date.now();
    assert.deepEqual(await bash(session, 'cat f'), { text: 'kept', error: false });
    assert.ok(Date.now() - quick < 5000);
  }
  assert.equal(claims(session).length, 1);
});

test('C15: a new sandbox has a new generation, and what was sent to the old one does not run in it', async () => {
  const { session } = await makeSession(client);
  await bash(session, 'true');
  const running = turn(client, session.id, script(`${call('bash', { command: 'echo a >> effects; sleep 30' })}`, `& ${call('bash', { command: 'echo b >> effects' })}`, call('bash', { command: 'cat effects' }), 'say ok'));
  await until('the tools', async () => (await history(session.id)).filter((e) => e.type === 'agent.tool_use').length === 3);
  await sleep(700);
  killSandbox(session);
  const [first, second, effects] = results(await running);
  assert.ok(first.error && second.error);
  // The second waited for the first: whether it ran is unknown, and nobody ran it again.
  assert.equal(effects.text, 'a');
  const generations = claims(session).map((c) => c.generation);
  assert.deepEqual(generations, [1, 2]);
});

test('C16: the strict SDK sees every event of the stream, and an error is not the end', async () => {
  const { session } = await makeSession(client);
  // What a plain reader gets, record by record.
  const res = await fetch(`${server.url}/v1/sessions/${session.id}/events/stream`, {
    headers: { 'x-api-key': server.key, 'anthropic-beta': 'managed-agents-2026-04-01' },
  });
  const seen = await turn(client, session.id, script('error 529', 'say first', call('bash', { command: 'echo x' }), 'think hm', 'say done'), {
    stop: (e) => e.type === 'session.status_idle',
  });
  const stored = await history(session.id);
  const ids = (events) => [...new Set(events.map((e) => e.id))];
  assert.deepEqual(ids(seen).sort(), ids(stored).sort());
  const error = seen.findIndex((e) => e.type === 'session.error');
  assert.equal(seen[error].error.retry_status.type, 'retrying');
  assert.ok(seen.slice(error).some((e) => e.type === 'agent.message' && text(e) === 'done'));
  assert.equal(seen.at(-1).stop_reason.type, 'end_turn');
  assert.ok(await isIdle(session.id));
  let raw = '';
  const reader = res.body.getReader();
  const decoder = new TextDecoder();
  while (!/event: session.status_idle\n.*\n\n/.test(raw)) raw += decoder.decode((await reader.read()).value, { stream: true });
  await reader.cancel();
  const records = raw.split('\n\n').filter((r) => r && !/^event: ping/m.test(r));
  for (const r of records) {
    const name = /^event: (.+)$/m.exec(r)[1];
    assert.equal(JSON.parse(/^data: (.+)$/m.exec(r)[1]).type, name);
  }
  assert.deepEqual(records.map((r) => JSON.parse(/^data: (.+)$/m.exec(r)[1]).id), seen.map((e) => e.id));
});

test('C18: no stream, list, cursor or answer of one session reaches another', async () => {
  const [a, b] = await Promise.all(['a', 'b'].map(async () => (await makeSession(client)).session));
  const seen = {};
  await Promise.all(
    [
      [a, 'alpha'],
      [b, 'beta'],
    ].map(async ([s, word]) => {
      const deltas = { event_deltas: ['agent.message', 'agent.thinking'] };
      seen[word] = await turn(client, s.id, script(...Array.from({ length: 20 }, (_, i) => `say ${word} ${i}`), call('bash', { command: `echo ${word}` }), `say ${word} end`), { stream: deltas });
    }),
  );
  assert.ok(JSON.stringify(seen.alpha).includes('alpha') && !JSON.stringify(seen.alpha).includes('beta'));
  assert.ok(JSON.stringify(seen.beta).includes('beta') && !JSON.stringify(seen.beta).includes('alpha'));
  // A cursor of the one is of no use for the other.
  const page = await client.beta.sessions.events.list(a.id, { limit: 2 });
  assert.ok(page.next_page);
  try {
    const other = await client.beta.sessions.events.list(b.id, { limit: 1000, page: page.next_page });
    assert.ok(!JSON.stringify(other.data).includes('alpha'));
  } catch (e) {
    assert.ok(e instanceof Anthropic.BadRequestError, e.message);
  }
  // Neither is an id, as an answer or as the place where a stream left off.
  const use = seen.alpha.find((e) => e.type === 'agent.tool_use');
  await assert.rejects(
    client.beta.sessions.events.send(b.id, { events: [{ type: 'user.tool_confirmation', tool_use_id: use.id, result: 'allow' }] }),
    Anthropic.BadRequestError,
  );
  const res = await fetch(`${server.url}/v1/sessions/${b.id}/events/stream`, {
    headers: { 'x-api-key': server.key, 'anthropic-beta': 'managed-agents-2026-04-01', 'last-event-id': use.id },
  });
  await turn(client, b.id, script('say beta again'));
  let raw = '';
  const reader = res.body.getReader();
  while (!raw.includes('session.status_idle')) raw += Buffer.from((await reader.read()).value).toString();
  await reader.cancel();
  assert.ok(!raw.includes('alpha'));
  // A stream of a session that is gone says nothing.
  await client.beta.sessions.delete(a.id);
  await assert.rejects(client.beta.sessions.events.list(a.id), Anthropic.NotFoundError);
  await assert.rejects(client.beta.sessions.events.stream(a.id), Anthropic.NotFoundError);
});

// SPDX-License-Identifier: Apache-2.0
// Tools that abuse their sandbox, and sandboxes that die: each has the outcome that docs/internals/faults.md promises, and a second session
// never notices.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { assertValid, cmdline, descendants, makeSession, rolePid, say, startServer, turn, until } from '../wire/lib/server.mjs';

const SLOWEST_NEIGHBOUR_MS = 10000; // on a machine that other tests keep busy
const ROLE_GROWTH_KIB = 48 * 1024;

let server, client, neighbour;
before(async () => {
  server = await startServer({ config: '  memory: 384MiB\n  disk: 128MiB\n' });
  client = server.client();
  neighbour = (await makeSession(client)).session;
  assert.equal((await bash(neighbour, 'echo ok')).text, 'ok');
});
after(async () => {
  await server?.remove();
  assertValid();
});

const call = (tool, input) => `call ${tool} ${JSON.stringify(input)}`;
const script = (...lines) => say(['#puppet', ...lines].join('\n'));
const text = (e) => e.content.map((b) => b.text).join('');

// One tool call in a turn of its own; every turn must end as turns do.
async function run(session, tool, input) {
  const began = Date.now();
  const seen = await turn(client, session.id, script(call(tool, input), 'say ok'));
  assert.equal(seen.at(-1).stop_reason?.type, 'end_turn');
  const results = seen.filter((e) => e.type === 'agent.tool_result');
  assert.equal(results.length, 1);
  return { text: text(results[0]), error: !!results[0].is_error, ms: Date.now() - began };
}
const bash = (session, command, more = {}) => run(session, 'bash', { command, ...more });

// While `work` runs, the neighbour's calls succeed and stay quick.
async function unaffected(work) {
  let running = true;
  const done = work().finally(() => (running = false));
  done.catch(() => {}); // told by the await below
  do {
    const r = await bash(neighbour, 'echo ok');
    assert.deepEqual([r.text, r.error], ['ok', false]);
    assert.ok(r.ms < SLOWEST_NEIGHBOUR_MS, `the neighbour waited ${r.ms} ms`);
    await sleep(100);
  } while (running);
  return done;
}

const peak = (role) => Number(readFileSync(`/proc/${rolePid(server, role)}/status`, 'utf8').match(/VmHWM:\s+(\d+)/)[1]);
const logged = (event) =>
  server
    .log()
    .split('\n')
    .filter((l) => l.includes(`"event":"${event}"`))
    .map((l) => JSON.parse(l));
const claims = (session) => logged('sandbox.claimed').filter((l) => l.session === session.id);
const gone = (session) => logged('sandbox.gone').filter((l) => l.session === session.id);
const outputs = async (session) => {
  const all = [];
  for await (const f of client.beta.files.list({ scope_id: session.id, limit: 1000, betas: ['managed-agents-2026-04-01'] })) all.push(f);
  return all;
};
async function fresh() {
  const { session } = await makeSession(client);
  await bash(session, 'echo kept > /workspace/kept');
  return session;
}
// The session goes on in another sandbox, with its files.
async function goesOn(session, before) {
  const r = await bash(session, 'cat /workspace/kept');
  assert.deepEqual([r.text, r.error], ['kept', false]);
  if (before !== undefined) assert.equal(claims(session).length, before + 1);
}

// The end of one process of a sandbox may end the others before their turn comes.
function killPid(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (e) {
    if (e.code !== 'ESRCH') throw e;
  }
}

test('a tool prints 1 GiB: the end of it is the result, nobody needs memory for it', async () => {
  const session = await fresh();
  const roles = ['control', 'hands', 'gate'];
  const before = roles.map(peak);
  const guest = async () => Number((await bash(session, 'grep VmRSS /proc/1/status')).text.match(/\d+/)[0]);
  const guestBefore = await guest();
  const r = await unaffected(() => bash(session, 'dd if=/dev/zero bs=1M count=1024; echo the end'));
  assert.ok(!r.error);
  assert.match(r.text, /^\[output truncated\]\n/);
  assert.match(r.text, /The whole text is in (\/mnt\/session\/tool_results\/\S+)\]$/);
  assert.ok(r.text.length < 3000);
  const path = r.text.match(/\/mnt\/session\/tool_results\/[^\]]+/)[0];
  const whole = await bash(session, `wc -m < ${path}; tail -c 200 ${path}`);
  assert.match(whole.text, /1073741824 bytes .*copied/);
  assert.match(whole.text, /the end$/);
  assert.ok(Number(whole.text.match(/^\d+/)[0]) <= 102400 + '[output truncated]\n'.length);
  roles.forEach((role, i) => assert.ok(peak(role) - before[i] < ROLE_GROWTH_KIB, `${role}: ${before[i]} -> ${peak(role)} KiB`));
  assert.ok((await guest()) - guestBefore < ROLE_GROWTH_KIB);
});

test('a tool forks without end: the sandbox ends, the session goes on', async () => {
  const session = await fresh();
  const before = claims(session).length;
  const r = await unaffected(() => bash(session, 'f() { f | f & }; f; sleep 60', { timeout_ms: 60000 }));
  assert.ok(r.error);
  assert.match(r.text, /sandbox was lost while this tool ran.*(limit of processes|memory limit)/s);
  await goesOn(session, before);
});

test('a tool fills the disk: it gets an error, its own session alone is full', async () => {
  const session = await fresh();
  const r = await unaffected(() => bash(session, 'cat /dev/zero > /workspace/big'));
  assert.ok(r.error);
  assert.match(r.text, /No space left on device/);
  const full = await run(session, 'write', { file_path: '/workspace/other', content: 'x'.repeat(200000) });
  assert.ok(full.error);
  assert.match(full.text, /no space left on device/);
  const other = await run(neighbour, 'write', { file_path: '/workspace/other', content: 'x'.repeat(200000) });
  assert.ok(!other.error, other.text);
  assert.ok(!(await bash(session, 'rm /workspace/big && echo y > /workspace/small')).error);
  await goesOn(session);
});

test('one process allocates without end: it alone fails', async () => {
  const session = await fresh();
  const before = claims(session).length;
  const r = await unaffected(() => bash(session, 'tail /dev/zero; echo "status $?"'));
  assert.match(r.text, /memory exhausted/i);
  assert.match(r.text, /status [1-9]/);
  await goesOn(session, before - 1);
});

test('many processes allocate without end: the sandbox ends at its memory limit', async () => {
  const session = await fresh();
  const before = claims(session).length;
  const r = await unaffected(() => bash(session, 'for i in 1 2 3 4 5 6; do tail /dev/zero & done; wait'));
  assert.ok(r.error);
  assert.match(r.text, /reached its memory limit/);
  assert.equal(gone(session).at(-1).reason, 'memory');
  await goesOn(session, before);
});

test('a tool ignores SIGTERM and runs over its time: it is killed with all its children', async () => {
  const session = await fresh();
  const before = claims(session).length;
  const r = await unaffected(() =>
    bash(session, 'trap "" TERM HUP INT; (trap "" TERM; echo $BASHPID > /workspace/child; while :; do sleep 1; done) & while :; do sleep 1; done', {
      timeout_ms: 1500,
    }),
  );
  assert.deepEqual([r.text, r.error], ['bash: bash command timed out after 1500ms', true]);
  assert.ok(r.ms < 1500 + SLOWEST_NEIGHBOUR_MS);
  const child = await bash(session, 'kill -0 $(cat /workspace/child) 2>&1 && echo alive || echo dead');
  assert.match(child.text, /dead$/);
  await goesOn(session, before - 1);
});

test('a tool kills its own shell', async () => {
  const session = await fresh();
  const r = await unaffected(() => bash(session, 'echo lost; kill -9 $$; echo never'));
  assert.deepEqual([r.text, r.error], ['bash: bash session terminated', true]);
  await goesOn(session);
});

test('a tool ends its shell with exit 5', async () => {
  const session = await fresh();
  await bash(session, 'X=1');
  const r = await bash(session, 'exit 5');
  assert.deepEqual([r.text, r.error], ['bash: bash session terminated', true]);
  assert.equal((await bash(session, 'echo "X is ${X:-unset}"')).text, 'X is unset');
  const inner = await bash(session, '(exit 5)');
  assert.deepEqual([inner.text, inner.error], ['exit 5', true]);
});

test('background jobs keep stdout open: the call ends with its shell line', async () => {
  const session = await fresh();
  const quiet = await bash(session, 'sleep 300 & echo started');
  assert.deepEqual([quiet.text, quiet.error], ['started', false]);
  assert.ok(quiet.ms < SLOWEST_NEIGHBOUR_MS);
  const noisy = await bash(session, '(while :; do echo noise; sleep 0.05; done) & echo $! > /workspace/noisy; echo started');
  assert.match(noisy.text, /started/);
  const next = await bash(session, 'sleep 0.5; echo mine; kill $(cat /workspace/noisy)');
  assert.match(next.text, /^(noise\n)*mine(\nnoise)*$/);
  await goesOn(session);
});

test('binary output: NUL, bad UTF-8, escapes and controls become text', async () => {
  const session = await fresh();
  const r = await bash(session, "printf 'a\\000b\\377c\\033[31mred\\033[0m\\001\\r\\n\\303\\251\\355\\240\\200'");
  assert.ok(!r.error);
  assert.equal(r.text, 'a\ufffdb\ufffdcred\u0001\r\n\u00e9\ufffd\ufffd\ufffd');
  const random = await bash(session, 'head -c 20000 /dev/urandom');
  assert.ok(!random.error);
  assert.ok(random.text.length > 1000);
  await bash(session, 'mkdir -p d; printf "needle \\000\\n" > "d/$(printf "bad\\377\\001name")"; printf "needle \\377\\n" > d/good');
  assert.ok(!(await run(session, 'read', { file_path: '/workspace/d/good' })).error);
  await run(session, 'grep', { pattern: 'needle', path: '/workspace/d' });
  await run(session, 'glob', { pattern: '**/*' });
  await goesOn(session);
});

test('one huge line is cut like any output', async () => {
  const session = await fresh();
  const r = await bash(session, "head -c 500000 /dev/zero | tr '\\0' y; echo; echo last");
  assert.ok(!r.error);
  assert.match(r.text, /^\[output truncated\]\ny{100}/);
  assert.match(r.text, /The whole text is in /);
});

test('a file over 256 KiB is not read whole', async () => {
  const session = await fresh();
  await bash(session, "head -c 262145 /dev/zero | tr '\\0' z > big; head -c 262144 big > fits; (head -c 262144 big | fold -w 99; echo; echo end) > lines");
  const over = await run(session, 'read', { file_path: '/workspace/big' });
  assert.deepEqual(
    [over.text, over.error],
    [
      'read: /workspace/big is 262145 bytes, exceeds 262144-byte limit. Use the view_range parameter to read specific line ranges, e.g. view_range: [1, 500].',
      true,
    ],
  );
  const fits = await run(session, 'read', { file_path: '/workspace/fits' });
  assert.ok(!fits.error);
  assert.match(fits.text, /The output has 262144 characters/);
  const range = await run(session, 'read', { file_path: '/workspace/lines', view_range: [2, 3] });
  assert.deepEqual([range.text, range.error], [`${'z'.repeat(99)}\n${'z'.repeat(99)}`, false]);
  const line = await run(session, 'read', { file_path: '/workspace/big', view_range: [1, 1] });
  assert.match(line.text, /^read: line 1 of \/workspace\/big alone exceeds 262144-byte limit/);
  assert.ok(line.error);
});

test('thousands of small output files: the first thousand become files, paced', async () => {
  const session = await fresh();
  await unaffected(async () => {
    await bash(session, 'cd /mnt/session/outputs && for i in $(seq 2500); do echo $i > f$i; done');
    await until('1000 files', async () => (await outputs(session)).length >= 1000, 30000);
  });
  const list = await outputs(session);
  assert.equal(list.length, 1000);
  assert.equal(new Set(list.map((f) => f.filename)).size, 1000);
  for (const f of list.slice(0, 5)) assert.equal(await (await client.beta.files.download(f.id)).text(), `${f.filename.slice(1)}\n`);
  assert.ok(logged('outputs.full').length > 0);
});

test('links and special files among the outputs are no way out', async () => {
  const session = await fresh();
  await bash(
    session,
    'cd /mnt/session/outputs && ln -s /etc/shadow shadow && ln -s ../../../../../../../../etc/shadow up && ln -s / root && mkfifo pipe && ' +
      'mkdir d && ln -s /etc d/etc && echo real > d/real && ln /etc/hostname hard 2>/dev/null; mknod dev c 1 3 2>/dev/null; true',
  );
  await until('the real one', async () => (await outputs(session)).some((f) => f.filename === 'real'));
  // Let another two scans see them.
  await bash(session, 'sleep 2; echo late > /mnt/session/outputs/late');
  await until('the late one', async () => (await outputs(session)).some((f) => f.filename === 'late'));
  const list = await outputs(session);
  assert.deepEqual(list.map((f) => f.filename).sort().filter((n) => n !== 'hard'), ['late', 'real']);
  // The outputs directory itself replaced by a link.
  const r = await bash(session, 'rm -rf /mnt/session/outputs && ln -s /etc /mnt/session/outputs; echo done');
  assert.match(r.text, /done/);
  await bash(session, 'sleep 2.2; true');
  assert.ok((await outputs(session)).every((f) => ['late', 'real', 'hard'].includes(f.filename)));
  assert.equal((await bash(session, 'echo alive')).text, 'alive');
});

test('an output that is written while it is looked at ends up whole', async () => {
  const session = await fresh();
  const size = 40 * 200000;
  await bash(session, '(for i in $(seq 40); do head -c 200000 /dev/zero >> /mnt/session/outputs/grow; sleep 0.05; done) & sleep 0.3');
  const file = await until('the whole file', async () => (await outputs(session)).find((f) => f.size_bytes === size), 30000);
  assert.equal((await (await client.beta.files.download(file.id)).arrayBuffer()).byteLength, size);
  assert.equal((await outputs(session)).length, 1);
});

// The runtime's processes of the session's present sandbox.
function runtime(session) {
  const id = claims(session).at(-1).sandbox;
  return descendants(server.child.pid).filter((p) => /^runsc/.test(cmdline(p)[0] ?? '') && cmdline(p).some((w) => w.includes(id)));
}

test('a sandbox killed from outside while a tool runs: an error says so, the next call has a fresh one', async () => {
  const session = await fresh();
  const before = claims(session).length;
  const r = await unaffected(async () => {
    const [got] = await Promise.all([
      bash(session, 'echo begun > /workspace/begun; sleep 60'),
      (async () => {
        await until('the tool', () => logged('sandbox.claimed').length && runtime(session).length > 1);
        await sleep(500);
        runtime(session).forEach(killPid);
      })(),
    ]);
    return got;
  });
  assert.ok(r.error);
  assert.match(r.text, /^The sandbox was lost while this tool ran, so it is unknown whether and how far it ran/);
  assert.ok(r.ms < 30000);
  await goesOn(session, before);
  assert.equal((await bash(session, 'cat /workspace/begun')).text, 'begun');
});

test('a sandbox killed from outside while idle: nobody notices but the log', async () => {
  const session = await fresh();
  const before = claims(session).length;
  await unaffected(async () => {
    runtime(session).forEach(killPid);
    await until('its end', () => gone(session).length === 1);
  });
  assert.equal(gone(session)[0].reason, 'exited');
  await goesOn(session, before);
  assert.ok(claims(session).at(-1).generation > claims(session).at(-2).generation);
});

test('the file server of a sandbox alone is killed: the same', async () => {
  const session = await fresh();
  const gofers = runtime(session).filter((p) => cmdline(p).includes('gofer'));
  assert.ok(gofers.length > 0);
  gofers.forEach(killPid);
  await unaffected(async () => {
    const r = await bash(session, 'cat /workspace/kept; ls /usr/share | head -3', { timeout_ms: 5000 });
    assert.ok(r.error || r.text.startsWith('kept'));
  });
  await until('a call that works', async () => (await bash(session, 'cat /workspace/kept', { timeout_ms: 5000 })).text === 'kept', 40000);
});

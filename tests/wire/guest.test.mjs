// SPDX-License-Identifier: Apache-2.0
// The guest's protocol and its endurance, outside a sandbox: the socket is the guest's, the other end is guest_driver.mjs.
import test from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import net from 'node:net';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Driver, GC, GUEST, STATUS, encode } from './guest_driver.mjs';

async function withGuest(fn, limits) {
  const base = fs.mkdtempSync(path.join(os.tmpdir(), 'pinfold-guest-'));
  const work = path.join(base, 'w');
  fs.mkdirSync(work);
  const driver = new Driver(path.join(base, 's'), limits);
  await driver.listen();
  const guest = spawn(GUEST, ['--socket', path.join(base, 's'), '--workdir', work, '--results', path.join(base, 'results'),
    '--offload', path.join(base, 'offload')], { stdio: ['ignore', 'inherit', 'inherit'], env: {} });
  const died = once(guest, 'exit').then(() => {
    throw new Error('the guest ended');
  });
  died.catch(() => {});
  try {
    await Promise.race([died, driver.ready().then(() => fn({ driver, guest, base, work }))]);
    assert.equal(guest.exitCode, null);
  } finally {
    driver.close();
    guest.kill('SIGKILL');
    fs.rmSync(base, { recursive: true, force: true });
  }
}

const memory = (guest, what) => Number(fs.readFileSync(`/proc/${guest.pid}/status`, 'utf8').match(new RegExp(`${what}:\\s+(\\d+)`))[1]);
const until = async (probe) => {
  while (!probe()) await new Promise((r) => setTimeout(r, 5));
};

test('says hello with an empty key, then with the key it got, for ever', () => withGuest(async ({ driver }) => {
  assert.deepEqual([driver.hellos[0].protocol, driver.hellos[0].key], [1, '']);
  for (let i = 1; i <= 3; i++) {
    driver.conn.destroy();
    driver.conn = null;
    await driver.ready();
    assert.equal(driver.hellos[i].key, driver.key);
    assert.equal(driver.hellos[i].pid, driver.hellos[0].pid);
    assert.equal(driver.hellos[i].started, driver.hellos[0].started);
  }
}));

test('hands restarted: a tool goes on, its result is collected on the new connection', () => withGuest(async ({ driver, work }) => {
  driver.execute('e1', 'bash', { command: 'echo x >> ran; sleep 0.3; wc -l < ran' });
  await until(() => fs.existsSync(path.join(work, 'ran')));
  driver.conn.destroy();
  driver.conn = null;
  await driver.ready();
  const r = await driver.execute('e1', 'bash', { command: 'echo x >> ran; sleep 0.3; wc -l < ran' });
  assert.deepEqual([r.text, r.isError], ['1', false]);
  assert.equal((await driver.collect('e1')).text, '1');
  driver.ack('e1');
  assert.equal((await driver.collect('e1')).status, STATUS.UNKNOWN);
}));

test('garbage from the other side ends the connection, not the guest', () => withGuest(async ({ driver }) => {
  const bad = [
    Buffer.alloc(64, 0xff),
    encode(GC.EXECUTE, 1, ['../x', 'bash', '{}', 0]),
    encode(GC.EXECUTE, 1, ['e', 'bash', '{}']),
    encode(GC.EXECUTE, 1, ['e', 'bash', '{}', 0, 0]),
    encode(GC.EXECUTE, 1, ['e'.repeat(129), 'bash', '{}', 0]),
    encode(GC.HELLO, 0, [1, '', 1, 1]),
    encode(GC.RESULT, 0, ['e', 0, 0, '', '', 0, 0]),
    encode(GC.WELCOME, 0, ['other', 0, 0, 0]),
    encode(99, 0, []),
    encode(GC.PING, 0, ['x']),
  ];
  for (const bytes of bad) {
    const hellos = driver.hellos.length;
    driver.raw(bytes);
    await until(() => driver.hellos.length > hellos && driver.conn);
  }
  await driver.ping();
  assert.equal((await driver.execute('ok', 'bash', { command: 'echo ok' })).text, 'ok');
}));

test('frames cut at every byte are one frame', () => withGuest(async ({ driver, work }) => {
  fs.writeFileSync(path.join(work, 'f'), 'text');
  const answer = new Promise((r) => driver.calls.set(77, r));
  for (const byte of encode(GC.EXECUTE, 77, ['e1', 'read', '{"file_path":"f"}', 0])) {
    driver.raw(Buffer.from([byte]));
    await new Promise((r) => setImmediate(r));
  }
  assert.equal((await answer).text, 'text');
}));

test('before WELCOME nothing else is taken', async () => {
  const base = fs.mkdtempSync(path.join(os.tmpdir(), 'pinfold-guest-'));
  const sock = path.join(base, 's');
  let dials = 0;
  const server = net.createServer((c) => {
    dials++;
    c.on('error', () => {});
    c.write(encode(GC.EXECUTE, 1, ['e1', 'bash', JSON.stringify({ command: `touch ${base}/ran` }), 0]));
  });
  server.listen(sock);
  await once(server, 'listening');
  const guest = spawn(GUEST, ['--socket', sock, '--workdir', base], { stdio: 'inherit', env: {} });
  await until(() => dials >= 3);
  guest.kill('SIGKILL');
  server.close();
  assert.equal(fs.existsSync(`${base}/ran`), false);
  fs.rmSync(base, { recursive: true, force: true });
});

test('a tool that prints 1 GiB costs no memory', { timeout: 60000 }, () => withGuest(async ({ driver, guest }) => {
  const r = await driver.execute('e1', 'bash', { command: "head -c 1G /dev/zero | tr '\\0' x; echo; echo end" });
  assert.equal(r.path.endsWith('/e1.txt'), true);
  assert.match(fs.readFileSync(r.path, 'utf8'), /^\[output truncated\]\nx+\nend$/);
  assert.ok(r.text.length < 2500 && r.text.includes(r.path), r.text.slice(-200));
  assert.ok(memory(guest, 'VmHWM') < 16384, `${memory(guest, 'VmHWM')} KiB`);
}));

test('output is shown while a command runs', () => withGuest(async ({ driver }) => {
  const seen = new Promise((r) => (driver.onOutput = r));
  const done = driver.execute('e1', 'bash', { command: 'echo early; read < <(sleep 30)' , timeout_ms: 20000 });
  await seen;
  assert.deepEqual(driver.outputs[0], ['e1', 'early\n']);
  driver.cancel('e1');
  const r = await done;
  assert.deepEqual([r.status, r.text, r.isError], [STATUS.CANCELLED, 'bash: This operation was aborted', true]);
}));

test('a timeout kills the process group, ignored signals or not', () => withGuest(async ({ driver, work }) => {
  const r = await driver.execute('e1', 'bash', { command: "trap '' TERM INT HUP; (trap '' TERM; sleep 60 & echo $! > pid; wait)", timeout_ms: 300 });
  assert.equal(r.text, 'bash: bash command timed out after 300ms');
  const pid = fs.readFileSync(path.join(work, 'pid'), 'utf8').trim();
  await until(() => !fs.existsSync(`/proc/${pid}`) || / Z /.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8')));
  assert.equal((await driver.execute('e2', 'bash', { command: 'echo fresh' })).text, 'fresh');
}));

test("hands' limit is shorter than the tool's", () => withGuest(async ({ driver }) => {
  const r = await driver.execute('e1', 'bash', { command: 'sleep 60', timeout_ms: 50000 }, 200);
  assert.equal(r.text, 'bash: bash command timed out after 200ms');
}));

test('a regular expression without end hits its time limit; others are served meanwhile', () => withGuest(async ({ driver, work }) => {
  fs.writeFileSync(path.join(work, 'a'), 'hit ab\n');
  fs.writeFileSync(path.join(work, 'b'), `${'a'.repeat(60)}!\n`);
  const slow = driver.execute('e1', 'grep', { pattern: '(a+)+\\1?b|x' }, 700);
  const quick = await driver.execute('e2', 'bash', { command: 'echo meanwhile' });
  assert.equal(quick.text, 'meanwhile');
  assert.equal((await slow).text, `${work}/a:1:hit ab\n[the search was cut short after 700 ms]`); // what was found is kept
  fs.rmSync(path.join(work, 'a'));
  const nothing = await driver.execute('e3', 'grep', { pattern: '(a+)+\\1?b|x' }, 300);
  assert.deepEqual([nothing.text, nothing.isError], ['grep: timed out after 0.3s', true]);
}));

test('searches wait for a place, all are answered', () => withGuest(async ({ driver, work }) => {
  fs.writeFileSync(path.join(work, 'f.txt'), 'x\n');
  const all = await Promise.all(Array.from({ length: 20 }, (_, i) => driver.execute(`g${i}`, i % 2 ? 'glob' : 'grep', { pattern: i % 2 ? '*' : 'x' })));
  for (const [i, r] of all.entries()) assert.equal(r.text, i % 2 ? `${work}/f.txt` : `${work}/f.txt:1:x`);
}));

test('a long result goes to a file, whole, and a preview comes back', () => withGuest(async ({ driver, work }) => {
  const text = `${'é'.repeat(99)}\n`.repeat(1100);
  fs.writeFileSync(path.join(work, 'long'), text);
  const r = await driver.execute('sevt_01x', 'read', { file_path: 'long' });
  assert.equal(fs.readFileSync(r.path, 'utf8'), text);
  assert.equal(r.chars, text.length);
  assert.ok(r.text.startsWith(text.slice(0, 2000)) && r.text.includes(r.path));
  fs.writeFileSync(path.join(work, 'short'), text.slice(0, 100000));
  const s = await driver.execute('sevt_01y', 'read', { file_path: 'short' });
  assert.deepEqual([s.path, s.text.length], ['', 100000]);
}));

test('limits of WELCOME hold for tools', () => withGuest(async ({ driver }) => {
  const r = await driver.execute('e1', 'bash', { command: 'ulimit -f; ulimit -v; ulimit -Hu; head -c 2M /dev/zero > big; echo $?; stat -c %s big' });
  assert.deepEqual(r.text.split('\n').slice(0, 3), ['1024', '8388608', '4000']);
  assert.match(r.text, /File size limit exceeded|File too large/);
  assert.match(r.text, /1048576$/);
}, { procs: 4000, memory: 8 * 2 ** 30, file: 2 ** 20 }));

test('results beyond memory are on disk and still there', () => withGuest(async ({ driver, base }) => {
  for (let i = 0; i < 80; i++) await driver.execute(`e${i}`, 'bash', { command: `echo ${i}` });
  assert.ok(fs.readdirSync(path.join(base, 'results')).length >= 10);
  for (const i of [0, 15, 70]) assert.equal((await driver.collect(`e${i}`)).text, String(i));
  for (let i = 0; i < 80; i++) driver.ack(`e${i}`);
  await driver.ping();
  assert.deepEqual(fs.readdirSync(path.join(base, 'results')), []);
}));

test('programs may write to /dev/stdout and /dev/stderr by name', () => withGuest(async ({ driver }) => {
  assert.equal((await driver.execute('e1', 'bash', { command: 'echo o > /dev/stdout; echo e > /dev/stderr; echo f > /proc/self/fd/2' })).text, 'o\ne\nf');
}));

test('background output between calls is not mixed into the next', () => withGuest(async ({ driver, work }) => {
  await driver.execute('e1', 'bash', { command: '(sleep 0.1; echo late; touch late) &' });
  await until(() => fs.existsSync(path.join(work, 'late')));
  await driver.ping();
  assert.equal((await driver.execute('e2', 'bash', { command: 'echo next' })).text, 'next');
}));

test('a thousand calls through one shell: the script file does not grow', { timeout: 60000 }, () => withGuest(async ({ driver, guest }) => {
  const pad = `# ${'x'.repeat(20000)}`;
  for (let i = 0; i < 1000; i++) {
    const r = await driver.execute(`e${i}`, 'bash', { command: `${pad}\necho ${i}` });
    assert.equal(r.text, String(i));
    driver.ack(r.id);
  }
  const script = fs.readdirSync(`/proc/${guest.pid}/fd`).map((f) => `/proc/${guest.pid}/fd/${f}`).filter((f) => fs.readlinkSync(f).startsWith('/memfd:bash'));
  assert.equal(script.length, 1);
  assert.ok(fs.statSync(script[0]).blocks * 512 < 6 * 2 ** 20, `${fs.statSync(script[0]).blocks} blocks`);
}));

// SPDX-License-Identifier: Apache-2.0
// The guest where it belongs: as process 1 under runsc, mounted as hands mounts it, with the host's own programs as the image.
// A tool must not be able to speak in the guest's name.
import test from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Driver, GUEST } from '../wire/guest_driver.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const why = () => {
  if (process.getuid() !== 0) return 'needs root: runsc makes namespaces';
  if (spawnSync('runsc', ['--version']).error) return 'needs runsc';
  if (spawnSync('cc', ['--version']).error) return 'needs a C compiler';
  return false;
};
const skip = why();

const base = skip ? '' : fs.mkdtempSync(path.join(os.tmpdir(), 'pinfold-guest-sb-'));
const dir = (name, mode = 0o755) => {
  const p = path.join(base, name);
  fs.mkdirSync(p, { recursive: true });
  fs.chmodSync(p, mode);
  return p;
};
let driver;
let runsc;
let flags;
const name = `guest-test-${process.pid}`;

test.before(async () => {
  if (skip) return;
  const run = dir('run');
  dir('run/results');
  fs.copyFileSync(GUEST, path.join(run, 'guest'));
  fs.chmodSync(path.join(run, 'guest'), 0o755);
  execFileSync('cc', ['-static', '-O1', '-D_GNU_SOURCE', '-o', path.join(dir('ws'), 'attack'), path.join(here, 'guest_attack.c')]);
  fs.writeFileSync(path.join(base, 'ws', 'f4k'), 'x'.repeat(4096));
  const caps = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'NET_BIND_SERVICE', 'SETFCAP', 'SETGID', 'SETPCAP', 'SETUID'].map((c) => `CAP_${c}`);
  const bind = (destination, source, mode) => ({ destination, type: 'bind', source, options: ['rbind', mode] });
  const usr = ['bin', 'sbin', 'lib', 'lib64'].filter((d) => fs.existsSync(`/${d}`));
  const rootfs = dir('rootfs');
  for (const d of ['proc', 'dev', 'tmp', 'run/pinfold', 'workspace', 'mnt', 'usr', 'etc', 'root']) dir(`rootfs/${d}`);
  for (const d of usr) fs.symlinkSync(`usr/${d}`, path.join(rootfs, d));
  fs.writeFileSync(path.join(rootfs, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000::/tmp:/bin/bash\n');
  fs.writeFileSync(path.join(dir('bundle'), 'config.json'), JSON.stringify({
    ociVersion: '1.0.2',
    process: { user: { uid: 0, gid: 0 }, args: ['/run/pinfold/guest'], env: [], cwd: '/', capabilities: { bounding: caps, effective: caps, permitted: caps } },
    root: { path: rootfs, readonly: false },
    hostname: 'sandbox',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs' },
      { destination: '/tmp', type: 'tmpfs', source: 'tmpfs' },
      bind('/usr', '/usr', 'ro'),
      bind('/run/pinfold', run, 'ro'),
      bind('/run/pinfold/results', dir('results', 0o700), 'rw'),
      bind('/workspace', dir('ws'), 'rw'),
      bind('/mnt/session/uploads', dir('up'), 'ro'),
      bind('/mnt/session/tool_results', dir('tr'), 'rw'),
    ],
    linux: { namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })) },
  }));
  flags = [`--root=${dir('state')}`, '--platform=ptrace', '--network=none', '--host-uds=open', '--ignore-cgroups'];
  driver = new Driver(path.join(run, 'hands.sock'), { procs: 100, memory: 0, file: 64 * 2 ** 20 });
  await driver.listen();
  runsc = spawn('runsc', [...flags, 'run', '-bundle', path.join(base, 'bundle'), name], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  runsc.stderr.on('data', (d) => (said += d));
  const ended = once(runsc, 'exit').then(([code]) => {
    throw new Error(`runsc ended with ${code}: ${said}`);
  });
  ended.catch(() => {});
  await Promise.race([ended, driver.ready()]);
});

test.after(() => {
  if (skip) return;
  driver?.close();
  spawnSync('runsc', [...flags, 'delete', '-force', name], { stdio: 'ignore' });
  runsc?.kill('SIGKILL');
  fs.rmSync(base, { recursive: true, force: true });
});

let serial = 0;
const bash = (command, timeout_ms = 60000) => driver.execute(`b${serial++}`, 'bash', { command, timeout_ms });

test('process 1 stands apart from its tools', { skip, timeout: 120000 }, async () => {
  for (let i = 0; i < 70; i++) await driver.execute(`spill${i}`, 'read', { file_path: 'f4k' });
  const spilled = fs.readdirSync(path.join(base, 'results')).filter((f) => f.startsWith('spill'));
  assert.ok(spilled.length > 0);
  const r = await bash(`./attack /run/pinfold/results/${spilled[0]}`);
  assert.match(r.text, /^\d+ attempts, 0 holes$/m, r.text);
  assert.equal(r.isError, false);
  assert.ok(Number(r.text.match(/(\d+) attempts/)[1]) >= 35, r.text);
  assert.ok(driver.refused >= 1, 'the dial without the key reached the socket and was refused');
  await driver.ping();
  assert.equal((await driver.collect(spilled[0])).text, 'x'.repeat(4096));
});

test('tools are root of their files', { skip, timeout: 60000 }, async () => {
  await driver.execute('w1', 'write', { file_path: 'made/by/guest', content: 'x' });
  const r = await bash('id -u; stat -L -c "%u %a" made made/by/guest 2>&1; touch mine; chown 1000:1000 mine; ls -ln mine | cut -d" " -f3,4; echo "$HOME $PWD"; su user -c "id -u" 2>&1; echo x > /dev/stderr');
  const st = fs.statSync(path.join(base, 'ws/made/by/guest'));
  assert.deepEqual([st.uid, st.gid, st.mode & 0o777], [0, 0, 0o600]);
  assert.equal(fs.statSync(path.join(base, 'ws/made')).uid, 0);
  assert.equal(fs.statSync(path.join(base, 'ws/mine')).uid, 1000);
  assert.match(r.text, /^0\n/);
  assert.match(r.text, /\/root \/workspace/);
  assert.match(r.text, /x$/);
});

test('/run cannot be moved away under the guest', { skip, timeout: 60000 }, async () => {
  await bash('mv /run /run2 && mkdir -p /run/pinfold; ls /run2 >/dev/null');
  driver.conn.destroy();
  driver.conn = null;
  await driver.ready();
  assert.equal((await bash('echo still here; [ -d /run2 ] && mv /run /run3 && mv /run2 /run')).text.split('\n')[0], 'still here');
});

test('a fork bomb ends at the process limit', { skip, timeout: 60000 }, async () => {
  const r = await bash('b() { b | b & }; b 2>/dev/null; sleep 30', 3000);
  assert.equal(r.text.endsWith('bash: bash command timed out after 3000ms'), true, r.text.slice(-300));
  await driver.ping();
  await bash('kill -9 -1', 10000); // what is left of the bomb; one signal reaches all but who sends it
  const alive = await bash('echo alive', 30000);
  assert.equal(alive.text, 'alive');
});

test('a tool that kills everything it can leaves the guest alone', { skip, timeout: 60000 }, async () => {
  assert.equal((await bash('(kill -9 -1)')).text, 'bash: bash session terminated');
  assert.equal((await bash('echo alive')).text, 'alive');
  assert.equal((await driver.execute('g1', 'glob', { pattern: 'f4*' })).text, '/workspace/f4k');
  assert.equal((await driver.execute('g2', 'grep', { pattern: '^x{10}', path: 'mine' })).text, 'no matches');
});

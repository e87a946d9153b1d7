// SPDX-License-Identifier: Apache-2.0
// The commands of `pinfold` against a real server, and those that need none.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { assertValid, binary, startServer } from './lib/server.mjs';

let server, dir;
before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'pinfold-cli-'));
  server = await startServer();
});
after(async () => {
  await server?.remove();
  rmSync(dir, { recursive: true, force: true });
  assertValid();
});

// Runs pinfold to its end; nothing of the environment reaches it but `env`.
function pinfold(args, { env = {}, input } = {}) {
  return new Promise((resolve) => {
    const child = execFile(binary, args, { env: { PATH: process.env.PATH, ...env }, maxBuffer: 1 << 26 }, (e, stdout, stderr) =>
      resolve({ code: e ? e.code : 0, stdout, stderr }),
    );
    // Most commands end without having read anything.
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
  });
}
const here = (...args) => pinfold([...args, '--data', server.dir]);
async function ok(...args) {
  const r = await here(...args);
  assert.equal(r.code, 0, `${args.join(' ')}: ${r.stderr}`);
  return r.stdout;
}
function file(name, text) {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
}
const words = async (...typed) => (await pinfold(['complete', ...typed])).stdout.split('\n').map((l) => l.split('\t')[0]);

test('completion knows commands, options and what their values are', async () => {
  const first = await words('');
  assert.ok(first.includes('serve') && first.includes('sessions') && !first.includes('complete'));
  assert.equal(first.filter((w) => w === 'sessions').length, 1);
  assert.deepEqual((await words('sessions', 't')).filter(Boolean), ['tail']);
  assert.deepEqual((await words('run', '--prompt')).filter(Boolean), ['--prompt-file']);
  assert.deepEqual((await words('run', '--prompt-file', '')).filter(Boolean), ['@file']);
  assert.deepEqual((await words('serve', '--data', '')).filter(Boolean), ['@dir']);
  assert.deepEqual((await words('serve', '--log', 'j')).filter(Boolean), ['json']);
  assert.deepEqual((await words('nonsense', '')).filter(Boolean), []);
  for (const shell of ['bash', 'zsh', 'fish']) {
    const r = await pinfold(['completion', shell]);
    assert.equal(r.code, 0);
    assert.match(r.stdout, /complete/);
  }
  assert.equal((await pinfold(['completion', 'csh'])).code, 64);
});

test('the manual page names every command that help names', async () => {
  const help = (await pinfold(['--help'])).stdout;
  const page = (await pinfold(['man'])).stdout.replaceAll('\\-', '-');
  const names = [...help.matchAll(/^ {2}(\S+(?: \S+)?) {2,}/gm)].map((m) => m[1]);
  assert.ok(names.length > 20);
  for (const name of names) assert.ok(page.includes(`.SS ${name}\n`), name);
});

test('unknown commands and options are refused with a hint', async () => {
  for (const args of [['nonsense'], ['sessions', 'nonsense'], ['run', '--nonsense'], ['run', '--model']]) {
    const r = await pinfold(args);
    assert.equal(r.code, 64, args.join(' '));
    assert.match(r.stderr, /try: pinfold/);
  }
});

test('wrong use is told before a key or a server is looked for', async () => {
  for (const [args, say] of [
    [['agents', 'get'], /needs ID/],
    [['agents', 'get', 'a', 'b'], /"b" is too much/],
    [['agents', 'list', 'a'], /"a" is too much/],
    [['keys', 'create'], /needs NAME/],
    [['sessions', 'events'], /needs ID/],
    [['sessions', 'send', 'sesn_x'], /needs one of/],
    [['sessions', 'send', 'sesn_x', 'text', '--interrupt'], /needs one of/],
    [['run', 'prompt', '--prompt-file', file('prompt', 'x')], /exclude/],
    [['config', 'check'], /needs FILE/],
  ]) {
    const r = await pinfold([...args, ...(args[0] === 'config' ? [] : ['--data', join(dir, 'none')])]);
    assert.equal(r.code, 64, args.join(' '));
    assert.match(r.stderr, say);
  }
});

test('a folder without images says how to get one', async () => {
  const r = await pinfold(['image', 'list', '--dir', join(dir, 'none')]);
  assert.equal(r.code, 0);
  assert.match(r.stderr, /pinfold image build/);
  assert.equal((await pinfold(['image', 'list', '--json', '--dir', join(dir, 'none')])).stderr, '');
});

test('agents: create from YAML and JSON, list, get, archive', async () => {
  const yaml = file('agent.yaml', 'name: from yaml\nmodel: puppet\ntools:\n  - type: agent_toolset_20260401\n');
  const id = (await ok('agents', 'create', yaml)).trim();
  assert.match(id, /^agent_/);
  const made = await pinfold(['agents', 'create', '-', '--data', server.dir], { input: '{"name":"from stdin","model":"puppet"}' });
  assert.match(made.stdout, /^agent_/);
  assert.equal(JSON.parse(await ok('agents', 'get', id)).name, 'from yaml');
  assert.match(await ok('agents', 'list'), new RegExp(`^${id} .*from yaml$`, 'm'));
  const lines = (await ok('agents', 'list', '--json')).trim().split('\n').map((l) => JSON.parse(l));
  assert.ok(lines.some((a) => a.id === id));
  await ok('agents', 'archive', id);
  assert.ok(!(await ok('agents', 'list')).includes(id));
  assert.ok((await ok('agents', 'list', '--include-archived')).includes(id));
  const bad = await here('agents', 'create', file('bad.yaml', 'name: x\nmodel: puppet\nnonsense: 1\n'));
  assert.equal(bad.code, 64);
  assert.match(bad.stderr, /nonsense/);
});

test('an object that is not there is exit code 66', async () => {
  assert.equal((await here('sessions', 'get', 'sesn_nonsense')).code, 66);
  assert.equal((await here('sessions', 'get', '../keys')).code, 64);
});

test('no server is exit code 69, no key says what to do', async () => {
  const none = await pinfold(['agents', 'list', '--url', 'http://127.0.0.1:1'], { env: { PINFOLD_API_KEY: 'x' } });
  assert.equal(none.code, 69);
  assert.match(none.stderr, /pinfold serve/);
  const keyless = await pinfold(['agents', 'list', '--data', dir]);
  assert.notEqual(keyless.code, 0);
  assert.match(keyless.stderr, /pinfold serve.*PINFOLD_API_KEY.*--key-file/);
  const empty = await pinfold(['agents', 'list', '--key-file', join(dir, 'none')], { env: { PINFOLD_API_KEY: '' } });
  assert.match(empty.stderr, /none does not exist/);
});

test('keys: create, use through the environment, revoke', async () => {
  const key = (await ok('keys', 'create', 'ci')).trim();
  const env = { PINFOLD_URL: server.url, PINFOLD_API_KEY: key };
  assert.equal((await pinfold(['agents', 'list'], { env })).code, 0);
  assert.equal((await pinfold(['keys', 'list'], { env })).code, 77);
  const listed = await ok('keys', 'list');
  assert.ok(!listed.includes(key));
  const id = listed.match(/^(\S+) .*ci$/m)[1];
  await ok('keys', 'revoke', id);
  assert.equal((await pinfold(['agents', 'list'], { env })).code, 77);
});

test('run: uploads, prints, fetches the outputs, sums up', async () => {
  const input = file('input.txt', 'first\nsecond\n');
  const script = file('job.puppet', `Count the lines.
#puppet
bash wc -l </mnt/session/uploads/input.txt >/mnt/session/outputs/lines.txt; cat /mnt/session/outputs/lines.txt
expect 2
say Two lines.
`);
  const out = await ok('run', '--prompt-file', script, '--file', `${input}:/mnt/session/uploads/input.txt`, '--outputs', join(dir, 'out'));
  assert.match(out, /^agent\n {2}Two lines\.$/m);
  assert.match(out, /^bash +wc -l/m);
  assert.match(out, /tool calls +1 \(0 failed\)/);
  assert.match(out, /sandbox start +[\d.]+ ms/);
  assert.equal(readFileSync(join(dir, 'out', 'lines.txt'), 'utf8').trim(), '2');
  const id = out.match(/sesn_\w+/)[0];
  const again = await ok('sessions', 'events', id);
  assert.match(again, /Two lines\./);
  const events = (await ok('sessions', 'events', id, '--json')).trim().split('\n').map((l) => JSON.parse(l));
  assert.equal(events.at(-1).type, 'session.status_idle');
});

test('run: no prompt is wrong use, a turn that fails is no success', async () => {
  assert.equal((await here('run')).code, 64);
  assert.equal((await here('run', '--prompt-file', join(dir, 'missing'))).code, 66);
  assert.equal((await here('agents', 'create', join(dir, 'missing'))).code, 66);
  const failed = await here('run', '#puppet\nerror 400 always');
  assert.notEqual(failed.code, 0);
});

test('what models and tools say cannot drive the terminal', async () => {
  const script = file('escape.puppet', '#puppet\nbash printf "\\033]0;title\\007\\033[31mred\\u009b1m\\n"\nsay \x1b[2Jcleared\n');
  const out = await ok('run', '--prompt-file', script);
  // eslint-disable-next-line no-control-regex
  assert.doesNotMatch(out, /[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
  assert.match(out, /\\x1b\[2Jcleared/);
});

test('sessions: send and tail', async () => {
  const agent = (await ok('agents', 'create', file('a.json', '{"name":"tail","model":"puppet"}'))).trim();
  const environment = (await ok('environments', 'create', file('e.yaml', 'name: tail\n'))).trim();
  const session = (await ok('sessions', 'create', file('s.yaml', `agent: ${agent}\nenvironment_id: ${environment}\n`))).trim();
  let heard;
  const seen = new Promise((resolve) => (heard = resolve));
  const child = execFile(binary, ['sessions', 'tail', session, '--json', '--data', server.dir]);
  let text = '';
  child.stdout.on('data', (d) => {
    text += d;
    if (text.includes('"session.status_idle"')) heard();
  });
  // The stream has no past: what is sent before it is open is not heard, so it is said again until it is.
  const again = setInterval(() => here('sessions', 'send', session, 'hello'), 500);
  await seen;
  clearInterval(again);
  child.kill();
  assert.match(text, /You said: hello/);
  assert.equal((await here('sessions', 'send', session)).code, 64);
});

test('doctor finds this server, and fails without an image', async () => {
  const r = await here('doctor', '--config', `${server.dir}.yaml`, '--json');
  const found = JSON.parse(r.stdout);
  const state = (name) => found.checks.find((c) => c.name === name)?.state;
  assert.equal(state('server'), 'ok', r.stdout);
  assert.equal(state('sandbox'), 'ok', r.stdout);
  assert.equal(found.ok, !found.checks.some((c) => c.state === 'fail'));
  assert.equal(r.code, found.ok ? 0 : 69);
  const network = found.checks.find((c) => c.name === 'network').text;
  assert.equal(network, 'Sandboxes have no network: loopback only, until the egress gate is built.');
  const config = file('bare.yaml', 'sandbox:\n  platform: ptrace\n');
  const bare = JSON.parse((await pinfold(['doctor', '--data', dir, '--config', config, '--json'])).stdout);
  assert.equal(bare.checks.find((c) => c.name === 'image').state, 'fail');
  assert.equal(bare.ok, false);
});

test('image list says what is there', async () => {
  assert.equal((await pinfold(['image', 'list', '--dir', join(dir, 'none')])).stdout, '');
  const images = join(dir, 'images');
  mkdirSync(join(images, 'mine', 'rootfs', 'usr'), { recursive: true });
  const listed = JSON.parse((await pinfold(['image', 'list', '--json', '--dir', images])).stdout);
  assert.equal(listed.name, 'mine');
  assert.equal(listed.rootfs, join(images, 'mine', 'rootfs'));
  // An image that is there is not built again.
  const again = await pinfold(['image', 'build', '--name', 'mine', '--dir', images]);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stderr, /there already/);
});

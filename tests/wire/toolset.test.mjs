// SPDX-License-Identifier: Apache-2.0
// The guest's tools against the SDK's own (agent_toolset_20260401 for Node): the same calls in two directories that are made
// alike, the same texts. The guest runs outside a sandbox here, which changes nothing that these texts show.
//
// The SDK's glob needs fs.glob of Node 22. On an older Node the patterns are checked against the results recorded below, which a run
// on Node 22 (PINFOLD_NODE22=path) or later checks in turn.
import test from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import fsp from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { Driver, GUEST } from './guest_driver.mjs';
import { betaAgentToolset20260401 } from '@anthropic-ai/sdk/tools/agent-toolset/node';


const LIMIT = 262144;
const hasGlob = typeof fsp.glob === 'function';

// ---- a small world, made twice ----

function world(base) {
  const w = path.join(base, 'w');
  const a = path.join(base, 'allowed');
  const ro = path.join(base, 'readonly');
  const out = path.join(base, 'outside');
  for (const d of [w, a, ro, out]) fs.mkdirSync(d, { recursive: true });
  const put = (p, s, mode) => {
    fs.mkdirSync(path.dirname(path.join(w, p)), { recursive: true });
    fs.writeFileSync(path.join(w, p), s, { mode });
  };
  put('small.txt', 'one\ntwo\nthree\n');
  put('nonl.txt', 'one\ntwo');
  put('empty', '');
  put('utf8.txt', 'häß\n日本語\n😀😀\n');
  put('invalid.txt', Buffer.from([0x61, 0xff, 0xe3, 0x81, 0x62, 0xed, 0xa0, 0x80, 0xf0, 0x9f, 0x98, 0x0a, 0xc2]));
  put('bom.txt', '\ufeffbom\n');
  put('crlf.txt', 'foo a\r\nfoo b\rfoo c\n\nfoo d');
  put('exact', 'x'.repeat(LIMIT));
  put('big', 'line\n'.repeat(LIMIT / 5 + 1000));
  put('bigline', 'y'.repeat(LIMIT + 10) + '\nshort\n');
  put('binary', Buffer.from('foo1\nfo\0o\nfoo2\nfoo3'));
  put('long.txt', `foo${'x'.repeat(1998)}\nfoo${'x'.repeat(1997)}\n`);
  put('run.sh', '#!/bin/sh\n', 0o755);
  put('src/a.c', 'int foo;\n');
  put('src/b.c', 'int bar; // foo\n');
  put('src/b.h', '#pragma foo\n');
  put('src/deep/er/c.c', 'foo\nfoo\n');
  put('src/.hidden/d.c', 'foo hidden\n');
  put('.dot', 'foo dot\n');
  put('node_modules/m/index.js', 'foo\n');
  put('.git/config', 'foo\n');
  put('src/node_modules/n.c', 'foo\n');
  put('we[i]rd/{x}.txt', 'foo\n');
  put('q/1.txt', '1');
  put('q/2.txt', '2');
  put('q/10.txt', '10');
  put('many', 'foo line\n'.repeat(20000));
  fs.writeFileSync(path.join(a, 'in.txt'), 'allowed\n');
  fs.writeFileSync(path.join(ro, 'in.txt'), 'read only\n');
  fs.writeFileSync(path.join(out, 'secret.c'), 'foo secret\n');
  fs.symlinkSync('small.txt', path.join(w, 'link'));
  fs.symlinkSync(path.join(out, 'secret.c'), path.join(w, 'link_out'));
  fs.symlinkSync(out, path.join(w, 'dir_out'));
  fs.symlinkSync(a, path.join(w, 'dir_allowed'));
  fs.symlinkSync(path.join(out, 'new'), path.join(w, 'dangling_out'));
  fs.symlinkSync('made-by-link', path.join(w, 'dangling_in'));
  fs.symlinkSync('loop2', path.join(w, 'loop1'));
  fs.symlinkSync('loop1', path.join(w, 'loop2'));
  fs.symlinkSync('src', path.join(w, 'src_link'));
  let t = 1700000000;
  const times = (dir) => {
    for (const e of fs.readdirSync(dir, { withFileTypes: true }).sort((x, y) => (x.name < y.name ? -1 : 1))) {
      if (e.isDirectory()) times(path.join(dir, e.name));
      else if (e.isFile()) fs.utimesSync(path.join(dir, e.name), t, (t += e.name.length % 3));
    }
  };
  times(w);
  return { w, a, ro, out };
}

const base = fs.mkdtempSync(path.join(os.tmpdir(), 'pinfold-toolset-'));
// The two worlds have names of the same length and differ in one letter: texts that name a path have the same length.
const worlds = { sdk: world(path.join(base, 'S')), guest: world(path.join(base, 'G')) };
const driver = new Driver(path.join(base, 's'));
let guest;
let sdk;
let serial = 0;

test.before(async () => {
  await driver.listen();
  const g = worlds.guest;
  guest = spawn(GUEST, ['--socket', path.join(base, 's'), '--workdir', g.w, '--allow', g.a, '--allow', g.ro,
    '--readonly', g.ro, '--results', path.join(base, 'results'), '--offload', path.join(base, 'offload')], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {},
  });
  await driver.ready();
  const s = worlds.sdk;
  // No ripgrep, so that both search by themselves.
  process.env.PATH = path.join(base, 'nowhere');
  sdk = Object.fromEntries(betaAgentToolset20260401({
    workdir: s.w,
    allowedRoots: [s.a, s.ro],
    readOnlyRoots: [s.ro],
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', LANG: 'C.UTF-8' },
  }).map((t) => [t.name, t]));
  process.chdir(s.w);
});

test.after(() => {
  for (const t of Object.values(sdk ?? {})) t.close?.();
  driver.close();
  guest?.kill('SIGKILL');
  fs.rmSync(base, { recursive: true, force: true });
});

const swap = (v, from, to) => JSON.parse(JSON.stringify(v).replaceAll(path.join(base, from), path.join(base, to)));

async function bySdk(tool, input) {
  try {
    return { isError: false, text: (await sdk[tool].run(swap(input, 'G', 'S'))).toWellFormed() };
  } catch (e) {
    return { isError: true, text: e.message.toWellFormed() };
  }
}

async function byGuest(tool, input) {
  const r = await driver.execute(`call${serial++}`, tool, input);
  const text = r.path ? fs.readFileSync(r.path, 'utf8') : r.text;
  driver.ack(r.id);
  return { isError: r.isError, text };
}

const G = worlds.guest;
const F = (file_path, more = {}) => ({ file_path, ...more });

const cases = {
  read: [
    {}, F(''), F('small.txt'), F('nonl.txt'), F('empty'), F('utf8.txt'), F('invalid.txt'), F('bom.txt'), F('exact'),
    F('big'), F('nothing'), F('src'), F('.'), F('/'), F('..'), F('../x'), F('/etc/passwd'), F('src/../small.txt'), F('./src//a.c'),
    F(`${G.w}/small.txt`), F(`${G.a}/in.txt`), F('dir_allowed/in.txt'), F(`${G.ro}/in.txt`), F(`${G.a}/../outside/secret.c`),
    F('link'), F('link_out'), F('dir_out/secret.c'), F('dangling_out'), F('dangling_in'), F('loop1'), F('small.txt/x'),
    F('loop1/x'), F('a'.repeat(300)), F('n/'.repeat(2100)), F('qu"o\\te\n\u0001é'), F('/é"\t'), F('src_link/a.c'), F('src_link/../small.txt'),
    F('small.txt', { view_range: [1, 2] }), F('small.txt', { view_range: [2, 2] }), F('small.txt', { view_range: [2, -1] }),
    F('small.txt', { view_range: [0, 0] }), F('small.txt', { view_range: [3, 2] }), F('small.txt', { view_range: [4, 9] }),
    F('small.txt', { view_range: [9, 10] }), F('small.txt', { view_range: [1] }), F('small.txt', { view_range: [1, 2, 3] }),
    F('small.txt', { view_range: [] }), F('small.txt', { view_range: [-5, 2] }), F('nonl.txt', { view_range: [2, 2] }),
    F('empty', { view_range: [1, 1] }), F('big', { view_range: [5, 7] }), F('big', { view_range: [53420, -1] }),
    F('big', { view_range: [1, 0] }), F('big', { view_range: [3, 2] }), F('bigline', { view_range: [1, 1] }),
    F('bigline', { view_range: [2, 2] }), F('bigline', { view_range: [1, 2] }), F('bigline', { view_range: [9, 9] }),
    F('invalid.txt', { view_range: [1, 1] }),
  ],
  write: [
    {}, F(''), F('new.txt', { content: 'näw\n' }), F('x/y/z.txt', { content: '' }), F('nocontent'), F('small.txt/x', { content: 'x' }),
    F('small.txt/x/y', { content: 'x' }), F('src', { content: 'x' }), F('.', { content: 'x' }), F('../out', { content: 'x' }),
    F('/etc/x', { content: 'x' }), F(`${G.ro}/new`, { content: 'x' }), F(`${G.a}/new`, { content: 'x' }),
    F('dangling_out', { content: 'x' }), F('dangling_in', { content: 'x' }), F('dir_out/x', { content: 'x' }), F('loop1', { content: 'x' }),
    F('run.sh', { content: '#!/bin/sh\nexit 1\n' }), F('a'.repeat(300), { content: 'x' }), F('link', { content: 'through a link\n' }),
    F('dir_allowed/sub/x', { content: 'x' }),
  ],
  edit: [
    {}, F('small.txt'), F('small.txt', { old_string: '', new_string: 'x' }), F('nothing', { old_string: 'a', new_string: 'b' }),
    F('src', { old_string: 'a', new_string: 'b' }), F('big', { old_string: 'a', new_string: 'b' }), F('/etc/passwd', { old_string: 'a', new_string: 'b' }),
    F(`${G.ro}/in.txt`, { old_string: 'a', new_string: 'b' }), F('utf8.txt', { old_string: 'nowhere', new_string: 'b' }),
    F('utf8.txt', { old_string: '😀', new_string: 'b' }), F('utf8.txt', { old_string: '日本', new_string: '$& $1 $`' }),
    F('utf8.txt', { old_string: '😀', new_string: '', replace_all: true }), F('nonl.txt', { old_string: 'aaa', new_string: 'a', replace_all: true }),
    F('run.sh', { old_string: 'exit 1', new_string: 'exit 2' }), F('nonl.txt', { old_string: 'one\ntwo', new_string: 'aaaaa' }),
    F('nonl.txt', { old_string: 'aa', new_string: 'b', replace_all: true }),
  ],
  grep: [
    {}, { pattern: '' }, { pattern: 'foo' }, { pattern: 'foo', path: 'src' }, { pattern: 'foo', path: 'src/a.c' }, { pattern: 'nowhere at all' },
    { pattern: 'foo', path: 'nothing' }, { pattern: 'foo', path: '../outside' }, { pattern: 'foo', path: 'dir_out' },
    { pattern: 'foo', path: 'dir_allowed' }, { pattern: 'allowed', path: G.a }, { pattern: 'foo', path: 'link_out' },
    { pattern: 'one', path: 'link' }, { pattern: 'foo', path: 'src_link' }, { pattern: 'foo', path: 'binary' }, { pattern: '^foo', path: 'crlf.txt' },
    { pattern: 'c$', path: 'crlf.txt' }, { pattern: 'x', path: 'long.txt' }, { pattern: '.', path: 'invalid.txt' }, { pattern: 'foo', path: 'many' },
    { pattern: '\\bfoo\\b', path: 'src' }, { pattern: '(?<a>o)\\k<a>', path: 'src' }, { pattern: '[[:alpha:]]+', path: 'src' },
    { pattern: '[^]', path: 'small.txt' }, { pattern: '[]', path: 'small.txt' }, { pattern: 't(?=w)', path: 'small.txt' }, { pattern: '(?<!t)h', path: 'small.txt' },
    { pattern: '\\u65e5|\\xdf', path: 'utf8.txt' }, { pattern: '\\ud83d\\ude00', path: 'utf8.txt' }, { pattern: '\\x{66}', path: 'src' }, { pattern: '\\Qfoo\\E', path: 'src' },
    { pattern: 'fo{2}', path: 'src' }, { pattern: 'fo{,2}', path: 'src' }, { pattern: '\\s+foo', path: 'src' }, { pattern: '\\Aint|\\zfoo', path: 'src' },
    { pattern: '(a)|b\\1r', path: 'src' }, { pattern: '\\h', path: 'src' }, { pattern: '#', path: 'src' }, { pattern: 'p r a g', path: 'src' },
    ...['(', ')', '[a', 'a**', '*a', 'a{2,1}', '\\', '(?<n>a', '(?<n>a)(?<n>b)', '\\k<x>(?<n>a)', '(?i:a)', '(?>a)', '[b-a]', '{1}', '(?<1>a)',
      '(?P<n>a)', '(?', '(?:', 'a++', '^*', '(?<=a)*', 'x{1}{2}', '(?<n', '(?#c)', '\\k<a(?<a>b)', 'a|*', '(?=', '(?<=a', '[\\'].map((pattern) => ({ pattern, path: 'src' })),
    ...['a{', '\\u{1}', '(?=o)*', '\\c', '[\\d-x]', '\\8', '\\k', ']', '}', 'a{1', '\\0', '[\\b]', '\\cJ', '[\\c_]', '\\u12', '\\x1', 'o{0}f', '(?:)', '|', 'f|', '$^', '[^\\s\\S]', '\\-', '[a-\\d]'].map((pattern) => ({ pattern, path: 'src' })),
  ],
  // In one shell, in this order.
  bash: [
    {}, { command: '' }, { command: 'true' }, { command: 'false' }, { command: 'echo hi' }, { command: 'echo out; echo err >&2; exit_code() { return 3; }; exit_code' },
    { command: 'nosuchcommand' }, { command: 'x=5; cd src' }, { command: 'echo $x $PWD | sed s,/[SG]/,/X/,' }, { command: 'cd ..; cat' }, { command: 'read line; echo "[$line]"' },
    { command: 'echo a\\\n b' }, { command: 'if true; then\n  nosuch\nfi\n' }, { command: 'cat <<E\nhere $x\nE' }, { command: 'printf "\\n\\na\\n\\n\\n"' },
    { command: 'printf "\\033[1;31mred\\033[0m\\033[K\\033[?25l \\033]0;t\\007x\\033["' }, { command: 'printf "a\\377b\\xe3\\x81"' }, { command: 'echo 😀日本' },
    { command: 'echo $-; echo $0; echo $#; echo "$TERM|$PS1|$PS2|$HOME"' }, { command: 'break' }, { command: 'return 4' }, { command: 'set -x; echo traced; set +x' },
    { command: 'trap "echo bye" EXIT; trap' }, { command: 'trap - EXIT' }, { command: 'f() { echo in f; }; f' }, { command: 'f; type f' }, { command: 'alias ll=ls; ll' },
    { command: '(exit 9)' }, { command: 'kill -TERM $BASHPID; true' , skip: 'the shell ends' }, { command: 'exec 2>/dev/null; echo gone >&2' }, { command: 'echo back >&2' },
    { command: 'yes | head -c 102343' }, { command: 'yes | head -c 102344 | tr y x' }, { command: 'yes | head -c 102346' }, { command: 'yes | head -c 300000; exit_code' },
    { command: 'for i in $(seq 60000); do printf "😀"; done' }, { command: 'for i in $(seq 60000); do printf "😀"; done; printf x' },
    { command: 'sleep 5', timeout_ms: 200 }, { command: 'echo ${x-unset}; pwd | sed s,/[SG]/,/X/,' }, { command: 'sleep 100 & echo bg; trap "" TERM; sleep 5', timeout_ms: 150 },
    { restart: true }, { command: 'echo again', restart: true }, { command: 'exit 3' }, { command: 'echo alive' }, { command: 'kill -9 $$' }, { command: 'echo alive' },
    { command: ')' }, { command: 'echo alive; nosuch' }, { command: 'set -e; false; echo no' }, { command: 'ls small.txt nonl.txt' }, { command: 'ls nothing; echo $?' }, { command: 'wc -c < exact' },
    { command: 'cat /dev/stdin </dev/null; umask' },
  ],
};

const patterns = [
  '*', '**', '**/*', '*.txt', '**/*.c', 'src/*.c', 'src/**', 'src/**/*', './src/*.c', 'src/', 'src', 'src/.', 'small.txt', './small.txt', '.*', '**/.*', '.dot',
  'src/.hidden/*', '**/.hidden/*', '**/.hidden/**', '**/d.c', 'src/?.c', 'src/[ab].c', 'src/[!a].c', 'src/[^a].c', 'src/[a-z].[ch]', 'src/[[:alpha:]].c', 'src/[b-a].c', 'src/[]a].c',
  'src/{a,b}.c', '{src/a,src/b}.{c,h}', 'src/{a,{b,x}}.c', 'q/{1..3}.txt', 'q/{01..10}.txt', 'q/{3..1}.txt', 'q/{1..10..9}.txt', 'src/{a..c}.c', '{q}/1.txt', '{q}/{1,2}.txt', '${q}/1.txt', 'q/{1,}.txt', 'q/{,1}*.txt',
  '{}', '{', 'q/{1.txt', 'q/1}.txt', '{{q,src}}/*', 'src/@(a|b).c', 'src/!(a).c', 'src/!(a|b).c', 'src/+(a|b).c', 'src/*(a|b).c', 'src/?(a).c', '@(src|q)/*', '!(src)/*', '*/*', '*/*/*', '*/**/*.c', '**/er/*', '**/er/**',
  '**/deep/**/c.c', 'src/**/er/c.c', '**/src/**', '**/**/a.c', '**//a.c', 'src//a.c', 'src/./a.c', '**/a.*', '*.{c,h,txt}', 'node_modules/**', '**/node_modules/*', '.git/*', 'we[[]i]rd/*', 'we\\[i]rd/*', 'we*/{x}.txt', 'we*/*', 'src\\a.c',
  'link', 'link_out', 'dir_out/*', 'dir_out/**', '*_out/*', '**/secret.c', 'src_link/*', 'src_link/*.c', 'src_link/**', '*_link/*.c', 'loop1', 'dir_allowed/*', '../*', 'a/../b', '{..,a}/b', '/etc/*', '', '#', '!small.txt', 'big*', '*i*', '?????.txt', '??', 'small.*', 's*.t?t',
  'dangling_in', '**/dangling*', '*/a.c', '**/*.h', '*/', '**/', 'src/*/', '[', 'src/[', 'src/[a', '*(a|', 'src/a.c/', 'src/a.c/*', '**/x/**/y/**', '**/[12].txt', '**/1?(0).txt', 'big{,line}', '{big,big}', '{**/a.c,src/*}', '*a*/**/*b*',
].map((pattern) => ({ pattern })).concat([{ pattern: '*', path: 'src' }, { pattern: '**/*.c', path: 'src/deep' }, { pattern: '*', path: 'dir_allowed' }, { pattern: '*', path: 'src_link' }, { pattern: '*', path: 'nothing' },
  { pattern: '*', path: 'small.txt' }, { pattern: '*', path: '../outside' }, { pattern: '*', path: G.a }]);
const recorded = new URL('toolset.glob.json', import.meta.url);
const relative = (r) => ({ ...r, text: r.text.replaceAll(path.join(base, 'S'), 'BASE').replaceAll(path.join(base, 'G'), 'BASE') });

test(`glob: the guest says what the SDK says (${patterns.length} calls)`, { timeout: 60000 }, async (t) => {
  const known = fs.existsSync(recorded) ? JSON.parse(fs.readFileSync(recorded, 'utf8')) : {};
  const seen = {};
  for (const input of patterns) {
    const name = JSON.stringify(input).replaceAll(path.join(base, 'G'), 'BASE');
    const want = hasGlob ? relative(await bySdk('glob', input)) : known[name];
    const got = relative(await byGuest('glob', input));
    seen[name] = want;
    await t.test(name, () => {
      assert.deepEqual(got, want);
      if (!process.env.PINFOLD_RECORD) assert.deepEqual(want, known[name], 'toolset.glob.json is out of date');
    });
  }
  if (hasGlob && process.env.PINFOLD_RECORD) fs.writeFileSync(recorded, `${JSON.stringify(seen, null, 1)}\n`);
});

for (const [tool, inputs] of Object.entries(cases)) {
  test(`${tool}: the guest says what the SDK says (${inputs.length} calls)`, { timeout: 60000 }, async (t) => {
    for (const { skip, ...input } of inputs) {
      if (skip) continue;
      const want = await bySdk(tool, input);
      const got = await byGuest(tool, input);
      const same = swap(got, 'G', 'S');
      await t.test(JSON.stringify(input).slice(0, 100), () => {
        if (want.text.length > 2000 && same.text !== want.text) {
          const at = [...want.text].findIndex((c, i) => c !== same.text[i]);
          assert.fail(`texts differ at ${at}: ${want.text.length} and ${same.text.length} units, ` +
            `${JSON.stringify(want.text.slice(0, 60))} and ${JSON.stringify(same.text.slice(0, 60))}`);
        }
        assert.deepEqual(same, want);
      });
    }
  });
}

test('written files are alike, modes included', () => {
  const list = (dir) => fs.readdirSync(dir, { withFileTypes: true, recursive: true }).filter((e) => e.isFile()).map((e) => {
    const p = path.join(e.parentPath ?? e.path, e.name);
    return [p, (fs.statSync(p).mode & 0o7777).toString(8), fs.readFileSync(p, 'latin1').length];
  }).sort();
  const dirs = (dir) => fs.readdirSync(dir, { withFileTypes: true, recursive: true }).filter((e) => e.isDirectory()).map((e) => {
    const p = path.join(e.parentPath ?? e.path, e.name);
    return [p, (fs.statSync(p).mode & 0o7777).toString(8)];
  }).sort();
  for (const root of ['w', 'a', 'ro', 'out']) {
    assert.deepEqual(swap(list(worlds.guest[root]), 'G', 'S'), list(worlds.sdk[root]));
    assert.deepEqual(swap(dirs(worlds.guest[root]), 'G', 'S'), dirs(worlds.sdk[root]));
  }
});

// SPDX-License-Identifier: Apache-2.0
// The benches that are programs of their own: they link the rooms they measure, and print their figures themselves.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { binary } from '../wire/lib/server.mjs';
import { skipped, wanted } from './lib.mjs';

const build = dirname(binary);
const programs = [
  { path: join(build, 'tests', 'bench', 'bench_sandbox_start'), names: ['sandbox-cold-start', 'sandbox-warm-claim'], args: () => [] },
  { path: join(build, 'tests', 'bench', 'bench_store_log'), names: ['log-append-64', 'log-append-single', 'log-append-slow', 'log-load-10000', 'log-list-1000'], args: (dir) => [dir] },
];

export default async function () {
  for (const p of programs) {
    if (!p.names.some(wanted)) continue;
    if (!existsSync(p.path)) {
      p.names.forEach((n) => skipped(n, `${p.path} is not built`));
      continue;
    }
    const dir = mkdtempSync(join(tmpdir(), 'pinfold-bench-'));
    const env = { ...process.env, PINFOLD_IMAGE: process.env.PINFOLD_IMAGE_DIR ?? '' };
    const run = spawnSync(p.path, p.args(dir), { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'inherit'] });
    rmSync(dir, { recursive: true, force: true });
    for (const line of run.stdout.split('\n')) {
      const name = line.match(/^bench (\S+)/)?.[1];
      if (name && wanted(name)) console.log(line);
    }
    if (run.status !== 0) p.names.forEach((n) => skipped(n, `${p.path} ended with ${run.status ?? run.signal}`));
  }
}

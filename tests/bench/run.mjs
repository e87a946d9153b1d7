// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
for (const f of readdirSync(here).filter((n) => n.endsWith('.bench.mjs')).sort()) await (await import(join(here, f))).default();

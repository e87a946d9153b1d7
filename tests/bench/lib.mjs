// SPDX-License-Identifier: Apache-2.0
// What the benches share. A figure is printed beside the reference it is measured against in the same run.
import { readFileSync } from 'node:fs';

const pattern = new RegExp(process.argv[2] || '.');
export const wanted = (name) => pattern.test(name);

export const median = (list) => quantile(list, 0.5);
export function quantile(list, q) {
  const s = [...list].sort((a, b) => a - b);
  return s[Math.min(s.length - 1, Math.floor(s.length * q))];
}

const round = (v) => (v === null || v === undefined ? '-' : Number(v.toPrecision(4)));

// `ok` is decided by the caller; goal is text for people.
export function figure(name, { value, ref, goal, ok, unit = '' }) {
  if (!wanted(name)) return;
  const ratio = ref ? value / ref : null;
  console.log(`bench ${name} value=${round(value)}${unit} ref=${ref ? round(ref) + unit : '-'} ratio=${round(ratio)} goal=${goal} ${ok ? 'ok' : 'short'}`);
}

export function skipped(name, why) {
  if (wanted(name)) console.log(`bench ${name} not run: ${why}`);
}

export function rssKiB(pid) {
  return Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+)/m)[1]);
}

// User and system time of all threads, in seconds.
export function cpuSeconds(pid) {
  const f = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return (Number(f[11]) + Number(f[12])) / 100;
}

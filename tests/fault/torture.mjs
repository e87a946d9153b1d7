// SPDX-License-Identifier: Apache-2.0
// One run: a session whose agent appends numbered lines to a file, one tool call each; at a random moment a random role is killed with
// SIGKILL. Afterwards: every event that a client had seen must be in the list (lost), and no line may stand in the file twice (doubled). A
// line may be missing only when its tool's result says that the sandbox was lost.
import { setTimeout as sleep } from 'node:timers/promises';
import { makeSession, rolePid, say, startServer, until } from '../wire/lib/server.mjs';

const runs = Number(process.argv[2]);
const STEPS = 6;
const roles = ['control', 'control', 'hands', 'gate', 'puppet'];
const call = (tool, input) => `call ${tool} ${JSON.stringify(input)}`;
const text = (e) => (e.content ?? []).map((b) => b.text).join('');

const server = await startServer();
const client = server.client({ fetch, maxRetries: 8 });
let kills = 0;
let lost = 0;
let doubled = 0;
let stuck = 0;

// Reads the stream until it breaks; whatever arrives was acknowledged.
async function watch(id, seen) {
  try {
    for await (const e of await client.beta.sessions.events.stream(id)) if (e.id) seen.add(e.id);
  } catch {
    // the role that served it was killed
  }
}

async function history(id) {
  const all = [];
  for await (const e of client.beta.sessions.events.list(id, { limit: 1000 })) all.push(e);
  return all;
}

const quiet = (fn) => async () => {
  try {
    return await fn();
  } catch {
    return false;
  }
};

async function one(i) {
  const { session } = await makeSession(client);
  const seen = new Set();
  void watch(session.id, seen);
  const steps = Array.from({ length: STEPS }, (_, n) => call('bash', { command: `echo line-${n} >> /workspace/log; sleep 0.05` }));
  const sent = await client.beta.sessions.events.send(session.id, { events: [say(['#puppet', ...steps, 'say done'].join('\n'))] });
  sent.data.forEach((e) => seen.add(e.id));
  await sleep(Math.random() * 1200);
  const role = roles[Math.floor(Math.random() * roles.length)];
  const pid = rolePid(server, role);
  if (pid) {
    process.kill(pid, 'SIGKILL');
    kills++;
  }
  const idle = quiet(async () => (await client.beta.sessions.retrieve(session.id)).status === 'idle');
  try {
    await until('idle', idle, 60000);
  } catch {
    stuck++;
    console.log(`run ${i}: ${role} killed, the session is stuck`);
    return;
  }
  const events = await history(session.id);
  const ids = new Set(events.map((e) => e.id));
  for (const id of seen) if (!ids.has(id)) lost++;
  await client.beta.sessions.events.send(session.id, { events: [say(`#puppet\n${call('bash', { command: 'cat /workspace/log 2>/dev/null; true' })}\nsay ok`)] });
  await until('idle again', idle, 60000);
  const result = (await history(session.id)).filter((e) => e.type === 'agent.tool_result').at(-1);
  const lines = text(result).split('\n').filter((l) => l.startsWith('line-'));
  doubled += lines.length - new Set(lines).size;
  const excused = events.filter((e) => e.type === 'agent.tool_result' && e.is_error).length;
  if (new Set(lines).size + excused < STEPS && events.at(-1).stop_reason?.type === 'end_turn') {
    lost++;
    console.log(`run ${i}: ${role} killed, ${lines.length} of ${STEPS} lines, ${excused} excused`);
  }
  await client.beta.sessions.delete(session.id);
}

for (let i = 0; i < runs; i++) {
  await one(i);
  if ((i + 1) % 10 === 0) console.log(`${i + 1} of ${runs}`);
}
await server.remove();
console.log(`runs=${runs} kills=${kills} lost=${lost + stuck} doubled=${doubled}`);
process.exit(lost + stuck + doubled === 0 ? 0 : 1);

// SPDX-License-Identifier: Apache-2.0
// Tool calls in a real sandbox: from agent.tool_use durable to agent.tool_result durable. The rows' times are taken when they are
// made, so a difference holds one commit.
import { makeSession, say, startServer, turn } from '../wire/lib/server.mjs';
import { figure, median, wanted } from './lib.mjs';

const N = 100;
const call = (tool, input) => `call ${tool} ${JSON.stringify(input)}`;
const us = (iso) => Date.parse(iso.slice(0, 19) + 'Z') * 1000 + Number((iso.match(/\.(\d+)/)?.[1] ?? '0').padEnd(6, '0').slice(0, 6));

async function times(client, sessionId, tool, input) {
  const seen = await turn(client, sessionId, say(['#puppet', `repeat ${N}`, call(tool, input), 'end', 'say done'].join('\n')));
  const uses = new Map(seen.filter((e) => e.type === 'agent.tool_use').map((e) => [e.id, us(e.processed_at)]));
  return seen.filter((e) => e.type === 'agent.tool_result').map((e) => {
    if (e.is_error) throw new Error(JSON.stringify(e));
    return (us(e.processed_at) - uses.get(e.tool_use_id)) / 1000;
  });
}

// The same line typed into a bare bash in that sandbox, from another process there.
const bare = `
import subprocess, time, statistics, sys
p = subprocess.Popen(['/bin/bash', '--noprofile', '--norc'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
t = []
for i in range(${N}):
    a = time.monotonic()
    p.stdin.write(sys.argv[1].encode() + b'; echo x\\n')
    p.stdout.read(2)
    t.append((time.monotonic() - a) * 1000)
print(statistics.median(t))
`;

export default async function () {
  const names = ['sandbox-bash-builtin', 'sandbox-bash-program', 'sandbox-read'];
  if (!names.some(wanted)) return;
  const server = await startServer();
  try {
    const client = server.client({ fetch });
    const { session } = await makeSession(client);
    const setup = await turn(
      client,
      session.id,
      say(['#puppet', call('write', { file_path: 'bare.py', content: bare }), call('write', { file_path: 'four', content: 'x'.repeat(4096) }), call('bash', { command: 'python3 bare.py /bin/true' }), call('bash', { command: 'python3 bare.py true' }), 'say ok'].join('\n')),
    );
    const results = setup.filter((e) => e.type === 'agent.tool_result');
    const refProgram = Number(results[2].content[0].text);
    const refBuiltin = Number(results[3].content[0].text);
    const commits = [];
    for (let i = 0; i < 20; i++) {
      const t0 = performance.now();
      await client.beta.sessions.update(session.id, { title: `t${i}` });
      commits.push(performance.now() - t0);
    }
    const commit = median(commits);
    const builtin = median(await times(client, session.id, 'bash', { command: 'true' }));
    figure('sandbox-bash-builtin', { value: builtin, ref: refBuiltin, unit: 'ms', goal: '<=1.5ms+commit', ok: builtin <= 1.5 + commit });
    const program = median(await times(client, session.id, 'bash', { command: '/bin/true' }));
    figure('sandbox-bash-program', { value: program, ref: refProgram, unit: 'ms', goal: '<=1.25x+commit', ok: program <= 1.25 * refProgram + commit });
    const read = median(await times(client, session.id, 'read', { file_path: 'four' }));
    figure('sandbox-read', { value: read, unit: 'ms', goal: '<=1ms+commit', ok: read <= 1 + commit });
    figure('sandbox-commit', { value: commit, unit: 'ms', goal: '-', ok: true });
  } finally {
    await server.remove();
  }
}

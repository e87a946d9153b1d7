// SPDX-License-Identifier: Apache-2.0
// Tools in real sandboxes, driven by the scripted model through the unmodified SDK.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic, { toFile } from '@anthropic-ai/sdk';
import { assertValid, makeSession, say, startServer, turn, types, until } from './lib/server.mjs';

let server, client;
before(async () => {
  server = await startServer();
  client = server.client();
});
after(async () => {
  await server?.remove();
  assertValid();
});

const call = (tool, input) => `call ${tool} ${JSON.stringify(input)}`;
const script = (...lines) => say(['#puppet', ...lines].join('\n'));
const results = (seen) => seen.filter((e) => e.type === 'agent.tool_result');
const text = (e) => e.content.map((b) => b.text).join('');

test('sequence B: a built-in tool, always_allow', async () => {
  const { session } = await makeSession(client);
  const seen = await turn(client, session.id, script(call('bash', { command: 'echo hi; echo err >&2; pwd' }), 'say done'));
  assert.deepEqual(types(seen).slice(4), [
    'span.model_request_start',
    'agent.tool_use',
    'span.model_request_end',
    'agent.tool_result',
    'span.model_request_start',
    'agent.message',
    'span.model_request_end',
    'session.thread_status_idle',
    'session.usage',
    'session.status_idle',
  ]);
  const use = seen.find((e) => e.type === 'agent.tool_use');
  assert.equal(use.evaluated_permission, 'allow');
  assert.deepEqual(use.evaluation, { type: 'always_allow' });
  const [r] = results(seen);
  assert.equal(r.tool_use_id, use.id);
  assert.equal(text(r), 'hi\nerr\n/workspace');
  assert.ok(!r.is_error);
});

test('the shell persists, errors are errors, parallel calls all answer', async () => {
  const { session } = await makeSession(client);
  const seen = await turn(
    client,
    session.id,
    script(
      call('bash', { command: 'cd /tmp && X=42 && mkdir -p d' }),
      call('bash', { command: 'echo $X $PWD' }),
      call('bash', { command: 'exit_code() { return 3; }; exit_code' }),
      call('write', { file_path: 'a/b.txt', content: 'one\ntwo\n' }),
      `${call('read', { file_path: 'a/b.txt' })}`,
      `& ${call('bash', { command: 'cat a/b.txt 2>&1; cat /workspace/a/b.txt' })}`,
      call('edit', { file_path: '/workspace/a/b.txt', old_string: 'two', new_string: 'zwei' }),
      call('grep', { pattern: 'zwei', path: '/workspace' }),
      call('glob', { pattern: '**/*.txt' }),
      call('read', { file_path: '/etc/shadow' }),
      'say done',
    ),
  );
  const r = results(seen).map((e) => [text(e), !!e.is_error]);
  assert.equal(r[0][0], '(no output)');
  assert.deepEqual(r[1], ['42 /tmp', false]);
  assert.deepEqual(r[2], ['exit 3', true]);
  assert.match(r[3][0], /^wrote 8 bytes to /);
  assert.equal(results(seen).length, 10);
  assert.deepEqual(r[9], ["path \"/etc/shadow\" is outside the session's working directory and its other permitted directories", true]);
  assert.match(r[7][0], /zwei/);
  assert.equal(r[8][0], '/workspace/a/b.txt');
});

test('uploads are there, read-only; outputs become files', async () => {
  const f = await client.beta.files.upload({ file: await toFile(Buffer.from('payload'), 'in.txt') });
  const { session } = await makeSession(client, {
    session: { resources: [{ type: 'file', file_id: f.id, mount_path: 'in.txt' }] },
  });
  const seen = await turn(
    client,
    session.id,
    script(
      call('bash', { command: 'cat /mnt/session/uploads/in.txt' }),
      call('bash', { command: 'echo x > /mnt/session/uploads/in.txt' }),
      call('bash', { command: 'mkdir -p /mnt/session/outputs/sub && echo result > /mnt/session/outputs/sub/out.txt' }),
      'say done',
    ),
  );
  const r = results(seen);
  assert.equal(text(r[0]), 'payload');
  assert.ok(r[1].is_error);
  const out = await until('the output file', async () => {
    const list = await client.beta.files.list({ scope_id: session.id, betas: ['managed-agents-2026-04-01'] });
    return list.data.find((x) => x.downloadable);
  });
  assert.equal(out.filename, 'out.txt');
  assert.equal(await (await client.beta.files.download(out.id)).text(), 'result\n');
  const late = await client.beta.sessions.resources.add(session.id, { type: 'file', file_id: f.id, mount_path: 'late.txt' });
  const again = await turn(client, session.id, script(call('bash', { command: `cat ${late.mount_path}` }), 'say ok'));
  assert.equal(text(results(again)[0]), 'payload');
});

test('one session cannot see another\'s files', async () => {
  const a = await makeSession(client);
  const b = await makeSession(client);
  await turn(client, a.session.id, script(call('bash', { command: 'echo secret-a > /workspace/a.txt; echo secret-a > /tmp/a.txt' }), 'say ok'));
  const seen = await turn(client, b.session.id, script(call('bash', { command: 'grep -rs secret-a / --include=a.txt --exclude-dir=proc --exclude-dir=sys | head; ls /workspace' }), 'say ok'));
  assert.ok(!text(results(seen)[0]).includes('secret-a'));
});

test('always_ask: nothing runs before it is allowed; deny reaches the model', async () => {
  const { session } = await makeSession(client, {
    agent: { tools: [{ type: 'agent_toolset_20260401', default_config: { permission_policy: { type: 'always_ask' } } }] },
  });
  const asked = await turn(client, session.id, script(call('bash', { command: 'echo ran' }), call('bash', { command: 'echo no' }), 'say done'));
  const use = asked.find((e) => e.type === 'agent.tool_use');
  assert.deepEqual(asked.at(-1).stop_reason, { type: 'requires_action', event_ids: [use.id] });
  await assert.rejects(client.beta.sessions.events.send(session.id, { events: [say('x')] }), Anthropic.BadRequestError);
  const ran = await turn(client, session.id, { type: 'user.tool_confirmation', tool_use_id: use.id, result: 'allow' });
  assert.equal(text(results(ran)[0]), 'ran');
  const second = ran.findLast((e) => e.type === 'agent.tool_use');
  const denied = await turn(client, session.id, {
    type: 'user.tool_confirmation',
    tool_use_id: second.id,
    result: 'deny',
    deny_message: 'not on my machine',
  });
  assert.ok(results(denied)[0].is_error);
  assert.match(text(results(denied)[0]), /not on my machine/);
  assert.equal(denied.at(-1).stop_reason.type, 'end_turn');
});

test('a custom tool is answered by the client', async () => {
  const { session } = await makeSession(client, {
    agent: { tools: [{ type: 'custom', name: 'weather', description: 'd', input_schema: { type: 'object' } }] },
  });
  const seen = await turn(client, session.id, script(call('weather', { city: 'x' }), 'expect "sunny"', 'say done'));
  const use = seen.find((e) => e.type === 'agent.custom_tool_use');
  assert.deepEqual(seen.at(-1).stop_reason.event_ids, [use.id]);
  const end = await turn(client, session.id, {
    type: 'user.custom_tool_result',
    custom_tool_use_id: use.id,
    content: [{ type: 'text', text: 'sunny' }],
  });
  assert.equal(end.at(-1).stop_reason.type, 'end_turn');
  assert.ok(end.some((e) => e.type === 'agent.message' && e.content[0].text === 'done'));
});

test('an interrupt stops a running tool', async () => {
  const { session } = await makeSession(client);
  const stream = await client.beta.sessions.events.stream(session.id);
  await client.beta.sessions.events.send(session.id, { events: [script(call('bash', { command: 'sleep 60; echo late' }), 'say never')] });
  const seen = [];
  for await (const e of stream) {
    seen.push(e);
    if (e.type === 'agent.tool_use') setTimeout(() => client.beta.sessions.events.send(session.id, { events: [{ type: 'user.interrupt' }] }), 1500);
    if (e.type === 'session.status_idle') break;
  }
  const [r] = results(seen);
  assert.equal(text(r), 'Tool execution was interrupted before completion. Please retry.');
  assert.ok(r.is_error);
  assert.equal(seen.at(-1).stop_reason.type, 'end_turn');
  assert.ok(!seen.some((e) => e.type === 'agent.message'));
  const next = await turn(client, session.id, script(call('bash', { command: 'echo alive' }), 'say ok'));
  assert.equal(text(results(next)[0]), 'alive');
});

test('web tools are not offered, and refused when named', async () => {
  const { session } = await makeSession(client);
  const seen = await turn(client, session.id, script(call('web_search', { query: 'x' }), 'say done'));
  assert.ok(results(seen)[0].is_error);
  assert.equal(seen.at(-1).stop_reason.type, 'end_turn');
});

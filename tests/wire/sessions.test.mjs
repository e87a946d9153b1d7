// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { assertValid, makeSession, rejects, say, startServer, turn, types, until } from './lib/server.mjs';

let server, client;
before(async () => {
  server = await startServer();
  client = server.client();
});
after(async () => {
  await server?.remove();
  assertValid();
});

test('session: created idle, with the resolved agent', async () => {
  const { agent, environment, session } = await makeSession(client, { session: { title: 't', metadata: { a: 'b' } } });
  assert.equal(session.status, 'idle');
  assert.equal(session.agent.id, agent.id);
  assert.equal(session.environment_id, environment.id);
  assert.deepEqual(session.metadata, { a: 'b' });
  const again = await client.beta.sessions.retrieve(session.id);
  assert.ok(again.stats.duration_seconds >= session.stats.duration_seconds);
  assert.deepEqual({ ...again, stats: null }, { ...session, stats: null });
});

test('session: overrides replace, and leave the agent alone', async () => {
  const { agent, environment } = await makeSession(client, { agent: { system: 'base' } });
  const s = await client.beta.sessions.create({
    agent: { type: 'agent_with_overrides', id: agent.id, system: 'mine', tools: [] },
    environment_id: environment.id,
  });
  assert.equal(s.agent.system, 'mine');
  assert.deepEqual(s.agent.tools, []);
  assert.equal(s.agent.version, 1);
  assert.equal((await client.beta.agents.retrieve(agent.id)).system, 'base');
  await assert.rejects(
    client.beta.sessions.create({ agent: { type: 'agent_with_overrides', id: agent.id, model: null }, environment_id: environment.id }),
    (e) => e.error?.error?.details?.error_code === 'agent_model_required',
  );
});

test('session: initial events start it', async () => {
  const { session } = await makeSession(client, { session: { initial_events: [say('hello')] } });
  assert.equal(session.status, 'running');
  await until('idle', async () => (await client.beta.sessions.retrieve(session.id)).status === 'idle');
  const events = (await client.beta.sessions.events.list(session.id)).data;
  assert.ok(events.some((e) => e.type === 'agent.message'));
  assert.ok(events.find((e) => e.type === 'user.message').processed_at);
});

test('session: update title and metadata appends session.updated', async () => {
  const { session } = await makeSession(client);
  const u = await client.beta.sessions.update(session.id, { title: 'new', metadata: { x: 'y' } });
  assert.equal(u.title, 'new');
  const again = await client.beta.sessions.update(session.id, { title: 'new' });
  assert.equal(again.title, 'new');
  const ev = (await client.beta.sessions.events.list(session.id)).data.filter((e) => e.type === 'session.updated');
  assert.equal(ev.length, 1);
  assert.equal(ev[0].title, 'new');
  assert.deepEqual(ev[0].metadata, { x: 'y' });
  assert.ok(!('agent' in ev[0]));
  await rejects(client.beta.sessions.update(session.id, { vault_ids: ['vlt_1'] }), Anthropic.BadRequestError, /vault_ids/);
});

test('session: sequence K, archive', async () => {
  const { session } = await makeSession(client);
  await turn(client, session.id, say('hello'));
  const stream = await client.beta.sessions.events.stream(session.id);
  const seen = [];
  const reading = (async () => {
    for await (const e of stream) seen.push(e);
  })();
  const a = await client.beta.sessions.archive(session.id);
  assert.equal(a.status, 'terminated');
  assert.ok(a.archived_at);
  await reading;
  assert.equal(seen.at(-1).type, 'session.status_terminated');
  await rejects(client.beta.sessions.events.send(session.id, { events: [say('x')] }), Anthropic.BadRequestError, /archived|terminated/i);
  assert.equal((await client.beta.sessions.archive(session.id)).archived_at, a.archived_at);
  assert.ok((await client.beta.sessions.events.list(session.id)).data.length > 5);
  const late = await client.beta.sessions.events.stream(session.id);
  for await (const e of late) assert.fail(`an event after the end: ${e.type}`);
});

test('session: archive and delete are refused while running', async () => {
  const { session } = await makeSession(client);
  const stream = await client.beta.sessions.events.stream(session.id);
  await client.beta.sessions.events.send(session.id, { events: [say('#puppet\nstall 3000\nsay late')] });
  await rejects(client.beta.sessions.archive(session.id), Anthropic.BadRequestError, /running/i);
  await rejects(client.beta.sessions.delete(session.id), Anthropic.BadRequestError, /running/i);
  await client.beta.sessions.events.send(session.id, { events: [{ type: 'user.interrupt' }] });
  for await (const e of stream) if (e.type === 'session.status_idle') break;
  // No race: the row is idle before the event says so.
  const gone = await client.beta.sessions.delete(session.id);
  assert.deepEqual(gone, { id: session.id, type: 'session_deleted' });
});

test('session: delete ends streams with session.deleted', async () => {
  const { session } = await makeSession(client);
  const stream = await client.beta.sessions.events.stream(session.id);
  const seen = [];
  const reading = (async () => {
    for await (const e of stream) seen.push(e.type);
  })();
  await client.beta.sessions.delete(session.id);
  await reading;
  assert.deepEqual(seen, ['session.deleted']);
  await rejects(client.beta.sessions.retrieve(session.id), Anthropic.NotFoundError, /not found/i);
});

test('session: list, both cursors, filters', async () => {
  const { agent, environment } = await makeSession(client);
  const made = [];
  for (let i = 0; i < 45; i++)
    made.push((await client.beta.sessions.create({ agent: agent.id, environment_id: environment.id, title: `s${i}` })).id);
  const all = [];
  for await (const s of client.beta.sessions.list({ agent_id: agent.id, limit: 20 })) all.push(s.id);
  assert.equal(all.length, 46);
  assert.deepEqual(all.slice(0, 45), made.toReversed());
  const p1 = await client.beta.sessions.list({ agent_id: agent.id, limit: 20 });
  assert.equal(p1.prev_page, null);
  const p2 = await client.beta.sessions.list({ agent_id: agent.id, limit: 20, page: p1.next_page });
  const back = await client.beta.sessions.list({ agent_id: agent.id, limit: 20, page: p2.prev_page });
  assert.deepEqual(back.data.map((s) => s.id), p1.data.map((s) => s.id));
  assert.equal(back.prev_page, null);
  const asc = await client.beta.sessions.list({ agent_id: agent.id, order: 'asc', limit: 3 });
  assert.equal(asc.data[1].id, made[0]);
  await rejects(client.beta.sessions.list({ order: 'desc', page: asc.next_page }), Anthropic.BadRequestError, /order/);
  await client.beta.sessions.archive(made[3]);
  const live = [];
  for await (const s of client.beta.sessions.list({ agent_id: agent.id })) live.push(s.id);
  assert.equal(live.length, 45);
  const ended = [];
  for await (const s of client.beta.sessions.list({ agent_id: agent.id, statuses: ['terminated'], include_archived: true })) ended.push(s.id);
  assert.deepEqual(ended, [made[3]]);
  await rejects(client.beta.sessions.list({ agent_version: 1 }), Anthropic.BadRequestError, /agent_id/);
  await rejects(client.beta.sessions.list({ statuses: ['sleeping'] }), Anthropic.BadRequestError, /statuses\.0/);
});

test('session: bad creates name the field', async () => {
  const { agent, environment } = await makeSession(client);
  const base = { agent: agent.id, environment_id: environment.id };
  const bad = [
    [{ environment_id: environment.id }, Anthropic.BadRequestError, /agent: Field required/],
    [{ agent: agent.id }, Anthropic.BadRequestError, /environment_id: Field required/],
    [{ ...base, agent: 'agent_01nope' }, Anthropic.NotFoundError, /Agent not found/],
    [{ ...base, environment_id: 'env_01nope' }, Anthropic.NotFoundError, /Environment not found/],
    [{ ...base, title: 'x'.repeat(501) }, Anthropic.BadRequestError, /title: .*500/],
    [{ ...base, surprise: true }, Anthropic.BadRequestError, /surprise: Extra/],
    [{ ...base, resources: [{ type: 'file', file_id: 'file_01nope' }] }, Anthropic.BadRequestError, /resources\.0\.file_id: File not found/],
    [{ ...base, resources: [{ type: 'file' }] }, Anthropic.BadRequestError, /resources\.0\.file_id: Field required/],
    [{ ...base, initial_events: [{ type: 'agent.message', content: [] }] }, Anthropic.BadRequestError, /initial_events\.0\.type/],
    [{ ...base, initial_events: [say('')] }, Anthropic.BadRequestError, /initial_events\.0\.content\.0\.text/],
    [{ ...base, vault_ids: ['vlt_01nope'] }, Anthropic.BadRequestError, /vault_ids/],
  ];
  for (const [body, cls, pattern] of bad) await rejects(client.beta.sessions.create(body), cls, pattern);
});

test('threads: the primary one', async () => {
  const { session } = await makeSession(client);
  const list = (await client.beta.sessions.threads.list(session.id)).data;
  assert.equal(list.length, 1);
  assert.equal(list[0].parent_thread_id, null);
  assert.equal(list[0].stats, null);
  assert.equal(list[0].usage, null);
  await turn(client, session.id, say('hello'));
  const t = await client.beta.sessions.threads.retrieve(list[0].id, { session_id: session.id });
  assert.equal(t.status, 'idle');
  assert.ok(t.usage.output_tokens > 0);
  const events = (await client.beta.sessions.threads.events.list(t.id, { session_id: session.id })).data;
  assert.deepEqual(events, (await client.beta.sessions.events.list(session.id)).data);
  await rejects(client.beta.sessions.threads.archive(t.id, { session_id: session.id }), Anthropic.BadRequestError, /primary/i);
  const stream = await client.beta.sessions.threads.events.stream(t.id, { session_id: session.id });
  await client.beta.sessions.events.send(session.id, { events: [say('again')] });
  const seen = [];
  for await (const e of stream) {
    seen.push(e);
    if (e.type === 'session.status_idle') break;
  }
  assert.ok(types(seen).includes('agent.message'));
});

// SPDX-License-Identifier: Apache-2.0
// Sequences of the contract's turn machine, seen through the unmodified SDK. No sandbox is needed here.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { accumulateManagedAgentsEvent } from '@anthropic-ai/sdk/lib/sessions/accumulate';
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

test('sequence A: a plain turn', async () => {
  const { session } = await makeSession(client);
  const seen = await turn(client, session.id, say('hello'));
  assert.deepEqual(types(seen), [
    'user.message(null)',
    'session.status_running',
    'session.thread_status_running',
    'user.message',
    'span.model_request_start',
    'agent.message',
    'span.model_request_end',
    'session.thread_status_idle',
    'session.usage',
    'session.status_idle',
  ]);
  assert.equal(seen[0].id, seen[3].id);
  assert.deepEqual(seen.at(-1).stop_reason, { type: 'end_turn' });
  const end = seen.find((e) => e.type === 'span.model_request_end');
  assert.equal(end.model_request_start_id, seen[4].id);
  assert.ok(end.model_usage.output_tokens > 0);
  assert.equal((await client.beta.sessions.retrieve(session.id)).status, 'idle');
  const listed = (await client.beta.sessions.events.list(session.id)).data;
  assert.deepEqual(
    listed.map((e) => e.id).sort(),
    [...new Set(seen.map((e) => e.id))].sort(),
  );
});

test('send is all or nothing', async () => {
  const { session } = await makeSession(client);
  const send = (events) => client.beta.sessions.events.send(session.id, { events });
  await rejects(send([say('fine'), { type: 'user.message', content: [] }]), Anthropic.BadRequestError, /events\.1\.content/);
  await rejects(send([say('fine'), { type: 'agent.message', content: [] }]), Anthropic.BadRequestError, /events\.1\.type/);
  await rejects(send([]), Anthropic.BadRequestError, /events/);
  await rejects(send([say('fine'), { ...say('x'), extra: 1 }]), Anthropic.BadRequestError, /events\.1\.extra: Extra/);
  await rejects(
    send([{ type: 'user.tool_confirmation', tool_use_id: 'sevt_01nope', result: 'allow' }]),
    Anthropic.BadRequestError,
    /tool_use_id|sevt_01nope/,
  );
  await rejects(send([{ type: 'user.tool_result', tool_use_id: 'sevt_01nope' }]), Anthropic.BadRequestError, /self_hosted/);
  assert.equal((await client.beta.sessions.events.list(session.id)).data.length, 0);
  assert.equal((await client.beta.sessions.retrieve(session.id)).status, 'idle');
});

test('sequence F: interrupt while generating, with a new message', async () => {
  const { session } = await makeSession(client);
  const stream = await client.beta.sessions.events.stream(session.id);
  const seen = [];
  await client.beta.sessions.events.send(session.id, { events: [say('#puppet\nstall 20000\nsay never')] });
  let sent = false;
  for await (const e of stream) {
    seen.push(e);
    if (e.type === 'span.model_request_start' && !sent) {
      sent = true;
      await client.beta.sessions.events.send(session.id, { events: [{ type: 'user.interrupt' }, say('#puppet\nsay X instead')] });
    }
    if (seen.filter((x) => x.type === 'session.status_idle').length === 2) break;
  }
  stream.controller.abort();
  const t = types(seen);
  const first = t.indexOf('session.status_idle');
  assert.deepEqual(t.slice(t.indexOf('span.model_request_start'), first + 1), [
    'span.model_request_start',
    'user.interrupt(null)',
    'user.message(null)',
    'span.model_request_end',
    'user.interrupt',
    'session.thread_status_idle',
    'session.usage',
    'session.status_idle',
  ]);
  assert.equal(seen[first].stop_reason.type, 'end_turn');
  assert.deepEqual(t.slice(first + 1, first + 4), ['session.status_running', 'session.thread_status_running', 'user.message']);
  assert.ok(!seen.some((e) => e.type === 'agent.message' && JSON.stringify(e).includes('never')));
});

test('sequence G: a transient failure, then success', async () => {
  const { session } = await makeSession(client);
  const seen = await turn(client, session.id, say('#puppet\nerror 529 1\nsay recovered'));
  const t = types(seen);
  const at = t.indexOf('session.error');
  assert.ok(at > 0);
  assert.equal(seen[at].error.type, 'model_overloaded_error');
  assert.equal(seen[at].error.retry_status.type, 'retrying');
  assert.deepEqual(t.slice(at, at + 4), [
    'session.error',
    'session.thread_status_rescheduled',
    'session.status_rescheduled',
    'session.status_running',
  ]);
  assert.ok(seen.some((e) => e.type === 'agent.message' && e.content[0].text === 'recovered'));
  assert.equal(seen.at(-1).stop_reason.type, 'end_turn');
});

test('sequence G: a fatal refusal of the model ends the turn', async () => {
  const { session } = await makeSession(client);
  const seen = await turn(client, session.id, say('#puppet\nerror 400\nsay no'));
  const err = seen.find((e) => e.type === 'session.error');
  assert.equal(err.error.type, 'model_request_failed_error');
  assert.equal(err.error.retry_status.type, 'exhausted');
  assert.equal(seen.at(-1).stop_reason.type, 'retries_exhausted');
  const again = await turn(client, session.id, say('#puppet\nsay fine'));
  assert.equal(again.at(-1).stop_reason.type, 'end_turn');
});

test('messages queued while running are taken in the same turn', async () => {
  const { session } = await makeSession(client);
  const stream = await client.beta.sessions.events.stream(session.id);
  await client.beta.sessions.events.send(session.id, { events: [say('#puppet\nstall 600\nsay first')] });
  await client.beta.sessions.events.send(session.id, { events: [say('and this')] });
  const seen = [];
  for await (const e of stream) {
    seen.push(e);
    if (e.type === 'session.status_idle') break;
  }
  const t = types(seen);
  assert.equal(t.filter((x) => x === 'session.status_running').length, 1);
  assert.equal(t.filter((x) => x === 'agent.message').length, 2);
});

test('previews satisfy the accumulator and match the event', async () => {
  const { session } = await makeSession(client);
  const text = 'a longer answer, with ünïcode — and "quotes"\nand lines, '.repeat(8);
  const seen = await turn(client, session.id, say(`#puppet\nthink hmm\nsay <<END\n${text}\nEND`), {
    stream: { event_deltas: ['agent.message', 'agent.thinking'] },
  });
  const start = seen.find((e) => e.type === 'event_start' && e.event.type === 'agent.message');
  const deltas = seen.filter((e) => e.type === 'event_delta');
  const final = seen.find((e) => e.type === 'agent.message');
  assert.equal(start.event.id, final.id);
  assert.ok(deltas.length > 3);
  let snapshot;
  for (const e of seen.filter((x) => x === start || x.type === 'event_delta')) snapshot = accumulateManagedAgentsEvent(snapshot, e) ?? snapshot;
  assert.equal(deltas.map((d) => d.delta.content.text).join(''), final.content[0].text);
  assert.ok(seen.some((e) => e.type === 'event_start' && e.event.type === 'agent.thinking'));
  assert.ok(seen.indexOf(deltas.at(-1)) < seen.indexOf(final));
  const plain = await turn(client, session.id, say('#puppet\nsay x'));
  assert.ok(!plain.some((e) => e.type.startsWith('event_')));
});

test('event_deltas: only known values', async () => {
  const { session } = await makeSession(client);
  await rejects(client.beta.sessions.events.stream(session.id, { event_deltas: ['agent.tool_use'] }), Anthropic.BadRequestError, /event_deltas/);
});

test('history and tail together are complete', async () => {
  const { session } = await makeSession(client);
  const all = new Set();
  const first = await client.beta.sessions.events.stream(session.id);
  const whole = (async () => {
    for await (const e of first) {
      all.add(e.id);
      if (e.type === 'session.status_idle') break;
    }
  })();
  await client.beta.sessions.events.send(session.id, { events: [say('#puppet\ndelay 30\nsay one two three four five six seven eight nine ten')] });
  // Reconnect in the middle of the turn, several times at once.
  const got = await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      await new Promise((r) => setTimeout(r, i * 40));
      const stream = await client.beta.sessions.events.stream(session.id);
      const ids = new Set();
      for await (const e of client.beta.sessions.events.list(session.id, { limit: 1000 })) ids.add(e.id);
      const listed = await client.beta.sessions.retrieve(session.id);
      if (listed.status !== 'idle') {
        for await (const e of stream) {
          ids.add(e.id);
          if (e.type === 'session.status_idle') break;
        }
      } else {
        for await (const e of client.beta.sessions.events.list(session.id, { limit: 1000 })) ids.add(e.id);
        stream.controller.abort();
      }
      return ids;
    }),
  );
  await whole;
  assert.equal(all.size, 9);
  for (const ids of got) assert.deepEqual([...ids].sort(), [...all].sort());
});

test('lists: types, order, time bounds, cursors', async () => {
  const { session } = await makeSession(client);
  await turn(client, session.id, say('one'));
  await turn(client, session.id, say('two'));
  const list = async (q) => {
    const out = [];
    for await (const e of client.beta.sessions.events.list(session.id, q)) out.push(e);
    return out;
  };
  const asc = await list({});
  const desc = await list({ order: 'desc', limit: 3 });
  assert.deepEqual(desc.map((e) => e.id), asc.map((e) => e.id).reverse());
  assert.deepEqual((await list({ limit: 4 })).map((e) => e.id), asc.map((e) => e.id));
  const times = asc.map((e) => Date.parse(e.processed_at));
  assert.deepEqual(times, [...times].sort((a, b) => a - b));
  assert.deepEqual((await list({ types: ['agent.message', 'user.message'] })).map((e) => e.type), [
    'user.message',
    'agent.message',
    'user.message',
    'agent.message',
  ]);
  const mid = asc.find((e, i) => e.type === 'user.message' && i > 5).processed_at;
  const late = await list({ 'created_at[gte]': mid });
  assert.ok(late.length > 0 && late.every((e) => Date.parse(e.processed_at) >= Date.parse(mid)));
  await rejects(client.beta.sessions.events.list(session.id, { types: ['nonsense'] }), Anthropic.BadRequestError, /types\.0/);
});

test('a stream that nobody reads does not hold up others', async () => {
  const { session } = await makeSession(client);
  const lazy = await fetch(`${server.url}/v1/sessions/${session.id}/events/stream`, {
    headers: { authorization: `Bearer ${server.key}`, 'anthropic-beta': 'managed-agents-2026-04-01' },
  });
  for (let i = 0; i < 5; i++) await turn(client, session.id, say(`turn ${i}`));
  await lazy.body.cancel();
  await until('idle', async () => (await client.beta.sessions.retrieve(session.id)).status === 'idle');
});

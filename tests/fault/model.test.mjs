// SPDX-License-Identifier: Apache-2.0
// A provider that does everything wrong: each has the outcome that docs/internals/faults.md promises, nothing hangs, and the next message works.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { assertValid, cmdline, descendants, makeSession, say, startServer, turn } from '../wire/lib/server.mjs';

const KEY = 'sk-ant-api03-this-is-the-key-of-the-tests-0123456789';
const TRIES = 5;

// ---- the provider ----

const record = (o) => `event: ${o.type}\ndata: ${JSON.stringify(o)}\n\n`;
const start = { type: 'message_start', message: { id: 'msg_1', type: 'message', role: 'assistant', model: 'fake', content: [], stop_reason: null, usage: { input_tokens: 5, output_tokens: 1 } } };
const stop = (stop_reason) => [{ type: 'message_delta', delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: 9 } }, { type: 'message_stop' }];
const block = (index, content_block, ...deltas) => [
  { type: 'content_block_start', index, content_block },
  ...deltas.map((delta) => ({ type: 'content_block_delta', index, delta })),
  { type: 'content_block_stop', index },
];
const textBlock = (index, ...pieces) => block(index, { type: 'text', text: '' }, ...pieces.map((text) => ({ type: 'text_delta', text })));
const useBlock = (index, name, ...pieces) =>
  block(index, { type: 'tool_use', id: `toolu_${index}`, name, input: {} }, ...pieces.map((partial_json) => ({ type: 'input_json_delta', partial_json })));
const answer = (text) => [start, ...textBlock(0, text), ...stop('end_turn')];
const uses = (n, name = 'nothing_of_that_name') => [start, ...Array.from({ length: n }, (_, i) => useBlock(i, name, '{}')).flat(), ...stop('tool_use')];
const realLooking = [
  start,
  ...block(0, { type: 'thinking', thinking: '', signature: '' }, { type: 'thinking_delta', thinking: 'hm' }, { type: 'signature_delta', signature: 'c2ln' }),
  { type: 'ping' },
  ...textBlock(1, 'one ', 'two'),
  ...useBlock(2, 'weather', '{"city"', ':"Bern"}'),
  ...stop('tool_use'),
];

const head = (res, type = 'text/event-stream') => res.writeHead(200, { 'content-type': type, 'request-id': 'req_provider' });
const send = (res, records) => {
  head(res);
  res.end(records.map(record).join(''));
};
const raw = (res, text) => res.socket.write(text);
const failure = (status, type, headers = {}, message = 'so says the provider') => (res) => {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(JSON.stringify({ type: 'error', error: { type, message } }));
};
const forever = (res, text, ms) => {
  const t = setInterval(() => res.write(text), ms);
  res.on('close', () => clearInterval(t));
};

let provider, trap;
const behaviours = new Map(); // by model; what a request does until the case is healed
const requests = new Map(); // by model: {at, headers, body}
const healed = new Set();
let trapped = 0;

function onRequest(req, res) {
  const pieces = [];
  req.on('data', (d) => pieces.push(d));
  req.on('end', () => {
    const body = JSON.parse(Buffer.concat(pieces).toString());
    const seen = requests.get(body.model) ?? [];
    seen.push({ at: Date.now(), headers: req.headers, url: req.url, body });
    requests.set(body.model, seen);
    res.on('error', () => {});
    if (healed.has(body.model)) send(res, answer('fine'));
    else behaviours.get(body.model)(res, seen.length, body);
  });
}

const listen = (s) => new Promise((resolve) => s.listen(0, '127.0.0.1', () => resolve(s.address().port)));

let server, client;
before(async () => {
  provider = createServer(onRequest);
  trap = createServer((req, res) => {
    trapped++;
    res.end();
  });
  const port = await listen(provider);
  trap.port = await listen(trap);
  const entry = (name, more) => `  - {name: ${name}, url: "http://127.0.0.1:${port}", key_env: FAKE_KEY, models: ["${name}-*"]${more}}\n`;
  server = await startServer({
    config: `providers:\n${entry('fake', '')}${entry('hasty', ', idle: 1s')}${entry('brief', ', total: 2500ms')}  - {name: away, url: "http://127.0.0.1:1", models: ["away-*"]}\n`,
    env: { FAKE_KEY: KEY },
  });
  client = server.client();
});
after(async () => {
  await server?.remove();
  provider?.closeAllConnections();
  provider?.close();
  trap?.close();
  assertValid();
});

// ---- the cases ----

let number = 0;
// A session whose model behaves like this; `kind` names the provider.
async function misbehaving(behaviour, kind = 'fake') {
  const model = `${kind}-${++number}`;
  behaviours.set(model, behaviour);
  const tools = [{ type: 'custom', name: 'weather', description: 'd', input_schema: { type: 'object' } }];
  const { session } = await makeSession(client, { agent: { model, tools } });
  return { model, id: session.id, seen: () => requests.get(model) ?? [] };
}
const errors = (events) => events.filter((e) => e.type === 'session.error').map((e) => [e.error.type, e.error.retry_status.type]);
const words = (events) => events.filter((e) => e.type === 'agent.message').map((e) => e.content.map((b) => b.text).join(''));

// Every start has its end, and the last word is idle.
function wellFormed(events) {
  const n = (type) => events.filter((e) => e.type === type).length;
  assert.equal(n('span.model_request_start'), n('span.model_request_end'));
  assert.equal(events.at(-1).type, 'session.status_idle');
  assert.equal(events.at(-2).type, 'session.usage');
}

async function works(s) {
  healed.add(s.model);
  const events = await turn(client, s.id, say('again'));
  wellFormed(events);
  assert.deepEqual(errors(events), []);
  assert.deepEqual(words(events), ['fine']);
  assert.equal(events.at(-1).stop_reason.type, 'end_turn');
}

// Fails however often it is tried, and says so each time.
async function exhausts(s, type, tries = TRIES) {
  const events = await turn(client, s.id, say('go'));
  wellFormed(events);
  const want = Array.from({ length: tries }, (_, i) => [type, i + 1 < tries ? 'retrying' : 'exhausted']);
  assert.deepEqual(errors(events), want);
  assert.equal(events.at(-1).stop_reason.type, 'retries_exhausted');
  assert.equal(events.filter((e) => e.type === 'session.status_rescheduled').length, tries - 1);
  assert.ok(events.filter((e) => e.type === 'span.model_request_end').every((e) => e.is_error === true));
  assert.deepEqual(words(events), []);
  for (const e of events.filter((x) => x.type === 'session.error')) assert.ok(e.error.message.length > 0 && e.error.message.length < 1000);
  await works(s);
  return events;
}

// Fails once and is tried again by itself.
async function recovers(s, type, text = 'better') {
  const events = await turn(client, s.id, say('go'));
  wellFormed(events);
  assert.deepEqual(errors(events), [[type, 'retrying']]);
  assert.equal(events.at(-1).stop_reason.type, 'end_turn');
  assert.deepEqual(words(events), [text]);
  const order = events.map((e) => e.type);
  const at = order.indexOf('session.error');
  assert.deepEqual(order.slice(at + 1, at + 3), ['session.thread_status_rescheduled', 'session.status_rescheduled']);
  await works(s);
  return events;
}
const once = (bad) => (res, n) => (n === 1 ? bad(res) : send(res, answer('better')));

describe('model', { concurrency: true }, () => {
  for (const [status, type] of [
    [400, 'invalid_request_error'],
    [401, 'authentication_error'],
    [403, 'permission_error'],
    [404, 'not_found_error'],
    [413, 'request_too_large'],
    [422, 'invalid_request_error'],
  ]) {
    test(`${status} ends the turn at once, with the provider's words`, async () => {
      const events = await exhausts(await misbehaving(failure(status, type)), 'model_request_failed_error', 1);
      assert.equal(events.find((e) => e.type === 'session.error').error.message, `The model answered HTTP ${status}: so says the provider`);
    });
  }

  test('402 is a billing error', async () => {
    await exhausts(await misbehaving(failure(402, 'billing_error')), 'billing_error', 1);
  });

  test('429 for ever: five tries, further and further apart', async () => {
    const s = await misbehaving(failure(429, 'rate_limit_error'));
    await exhausts(s, 'model_rate_limited_error');
    const at = s.seen().map((r) => r.at);
    for (let i = 1; i < TRIES; i++) assert.ok(at[i] - at[i - 1] >= 1000 * 2 ** (i - 1) - 50, `try ${i + 1} came after ${at[i] - at[i - 1]} ms`);
    assert.deepEqual(s.seen().slice(0, TRIES).map((r) => r.headers['x-stainless-retry-count']), ['0', '1', '2', '3', '4']);
  });

  for (const [name, headers] of [
    ['in seconds', { 'retry-after': '3' }],
    ['in milliseconds', { 'retry-after-ms': '3000', 'retry-after': '1' }],
    ['as a date', () => ({ 'retry-after': new Date(Date.now() + 4500).toUTCString() })],
  ]) {
    test(`429 with retry-after ${name} is obeyed`, async () => {
      const s = await misbehaving(once((res) => failure(429, 'rate_limit_error', typeof headers === 'function' ? headers() : headers)(res)));
      await recovers(s, 'model_rate_limited_error');
      const [a, b] = s.seen();
      assert.ok(b.at - a.at >= 2900 && b.at - a.at < 15000, `${b.at - a.at} ms`);
    });
  }

  test('an interrupt during the wait for a retry ends it', async () => {
    const s = await misbehaving(failure(429, 'rate_limit_error', { 'retry-after': '50' }));
    const began = Date.now();
    const events = await turn(client, s.id, say('go'), {
      stop: (e) => {
        if (e.type === 'session.status_rescheduled') void client.beta.sessions.events.send(s.id, { events: [{ type: 'user.interrupt' }] });
        return e.type === 'session.status_idle';
      },
    });
    assert.equal(events.at(-1).stop_reason.type, 'end_turn');
    assert.ok(Date.now() - began < 20000);
    await works(s);
  });

  test('500 is tried again', async () => {
    await recovers(await misbehaving(once(failure(500, 'api_error'))), 'model_request_failed_error');
  });

  test('503 with a page of HTML is tried again', async () => {
    const s = await misbehaving(
      once((res) => {
        res.writeHead(503, { 'content-type': 'text/html' });
        res.end('<html>\0\xff bad gateway'.repeat(20000));
      }),
    );
    await recovers(s, 'model_request_failed_error');
  });

  test('529 is an overload (sequence G)', async () => {
    await recovers(await misbehaving(once(failure(529, 'overloaded_error'))), 'model_overloaded_error');
  });

  test('529 for ever', async () => {
    await exhausts(await misbehaving(failure(529, 'overloaded_error')), 'model_overloaded_error');
  });

  test('a redirect is not followed', async () => {
    const s = await misbehaving(
      once((res) => {
        res.writeHead(307, { location: `http://127.0.0.1:${trap.port}/v1/messages` });
        res.end();
      }),
    );
    await recovers(s, 'model_request_failed_error');
    assert.equal(trapped, 0);
  });

  for (const [type, error] of [
    ['overloaded_error', 'model_overloaded_error'],
    ['rate_limit_error', 'model_rate_limited_error'],
    ['api_error', 'model_request_failed_error'],
  ]) {
    test(`an ${type} in the middle of a stream`, async () => {
      const bad = (res) => send(res, [start, ...textBlock(0, 'half').slice(0, 2), { type: 'error', error: { type, message: 'broke' } }]);
      await recovers(await misbehaving(once(bad)), error);
    });
  }

  // ---- time ----

  test('no answer at all: the request times out, for ever', async () => {
    await exhausts(await misbehaving(() => {}, 'hasty'), 'model_request_failed_error');
  });

  test('silence after the head', async () => {
    await recovers(
      await misbehaving(
        once((res) => {
          head(res);
          res.flushHeaders();
        }),
        'hasty',
      ),
      'model_request_failed_error',
    );
  });

  test('silence in the middle of a stream', async () => {
    await recovers(
      await misbehaving(
        once((res) => {
          head(res);
          res.write([start, ...textBlock(0, 'half').slice(0, 2)].map(record).join(''));
        }),
        'hasty',
      ),
      'model_request_failed_error',
    );
  });

  test('pings without end', async () => {
    const s = await misbehaving(
      once((res) => {
        head(res);
        res.write(record(start));
        forever(res, record({ type: 'ping' }), 100);
      }),
      'brief',
    );
    const events = await recovers(s, 'model_request_failed_error');
    assert.match(events.find((e) => e.type === 'session.error').error.message, /not complete after 2500 ms/);
  });

  test('a head that trickles without end', async () => {
    const s = await misbehaving(
      once((res) => {
        raw(res, 'HTTP/1.1 200 OK\r\nx: ');
        const t = setInterval(() => raw(res, 'y'), 100);
        res.socket.on('close', () => clearInterval(t));
      }),
      'brief',
    );
    await recovers(s, 'model_request_failed_error');
  });

  test('an interrupt frees a request that hangs', async () => {
    const s = await misbehaving(() => {});
    const events = await turn(client, s.id, say('go'), {
      stop: (e) => {
        if (e.type === 'span.model_request_start') void client.beta.sessions.events.send(s.id, { events: [{ type: 'user.interrupt' }] });
        return e.type === 'session.status_idle';
      },
    });
    assert.equal(events.at(-1).stop_reason.type, 'end_turn');
    assert.deepEqual(errors(events), []);
    await works(s);
  });

  test('a provider that is not there', async () => {
    const { session } = await makeSession(client, { agent: { model: 'away-1' } });
    const events = await turn(client, session.id, say('go'));
    assert.deepEqual(errors(events).at(-1), ['model_request_failed_error', 'exhausted']);
    assert.equal(events.at(-1).stop_reason.type, 'retries_exhausted');
  });

  // ---- answers that are no answers ----

  for (const [name, bad] of Object.entries({
    'garbage with a text type': (res) => {
      head(res, 'text/plain');
      res.end('hello');
    },
    'a whole message as JSON': (res) => {
      head(res, 'application/json');
      res.end(JSON.stringify({ ...start.message, content: [{ type: 'text', text: 'x' }], stop_reason: 'end_turn' }));
    },
    'no content type': (res) => {
      res.writeHead(200);
      res.end(answer('x').map(record).join(''));
    },
    'an empty body': (res) => {
      head(res);
      res.end();
    },
    'bytes that are no text in a stream': (res) => {
      head(res);
      res.end(Buffer.concat([Buffer.from('event: x\ndata: '), Buffer.from(Array.from({ length: 4096 }, (_, i) => i & 255)), Buffer.from('\n\n')]));
    },
    'records that are no JSON': (res) => {
      head(res);
      res.end('event: message_start\ndata: {"type":"message_start"\n\n');
    },
    'records that are no objects': (res) => {
      head(res);
      res.end('event: message_start\ndata: [1,2]\n\nevent: x\ndata: null\n\n');
    },
    'a text with a NUL': (res) => send(res, answer('a\0b')),
    'message_start twice': (res) => send(res, [start, start, ...textBlock(0, 'x'), ...stop('end_turn')]),
    'no message_start': (res) => send(res, [...textBlock(0, 'x'), ...stop('end_turn')]),
    'no stop reason': (res) => send(res, [start, ...textBlock(0, 'x'), { type: 'message_stop' }]),
    'blocks out of order': (res) => send(res, [start, ...textBlock(1, 'x'), ...stop('end_turn')]),
    'a block inside of a block': (res) => send(res, [start, textBlock(0, 'x')[0], ...textBlock(1, 'y'), ...stop('end_turn')]),
    'a block without an end': (res) => send(res, [start, ...textBlock(0, 'x').slice(0, 2), ...stop('end_turn')]),
    'a tool use without a name': (res) => send(res, [start, ...useBlock(0, '', '{}'), ...stop('tool_use')]),
    'a hundred tool uses': (res) => send(res, uses(100)),
    'three hundred blocks': (res) => send(res, [start, ...Array.from({ length: 300 }, (_, i) => textBlock(i, 'x')).flat(), ...stop('end_turn')]),
    'chunks that are none': (res) => raw(res, 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nZZZ\r\nhello\r\n'),
    'a chunk of absurd size': (res) => raw(res, 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nx'),
    'two lengths': (res) => raw(res, 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello'),
    'a length that is too long': (res) => {
      raw(res, 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 1000\r\n\r\nhello');
      res.socket.end();
    },
    'no HTTP': (res) => {
      raw(res, 'SSH-2.0-OpenSSH_9.2\r\n');
      res.socket.end();
    },
    'a head over 32 KiB': (res) => raw(res, `HTTP/1.1 200 OK\r\n${'x-filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n'.repeat(2000)}\r\n`),
    'a connection closed before the head': (res) => res.socket.destroy(),
    'a connection closed inside of the head': (res) => {
      raw(res, 'HTTP/1.1 200 OK\r\ncontent-ty');
      res.socket.end();
    },
  })) {
    test(`${name}: tried again`, async () => {
      await recovers(await misbehaving(once(bad)), 'model_request_failed_error');
    });
  }

  test('garbage for ever', async () => {
    await exhausts(await misbehaving((res) => res.socket.destroy()), 'model_request_failed_error');
  });

  test('an answer of 20 MiB is refused, and not asked for again', async () => {
    const piece = 'x'.repeat(1 << 16);
    const s = await misbehaving((res) => {
      head(res);
      res.write([start, { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }].map(record).join(''));
      for (let i = 0; i < 320; i++) res.write(record({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: piece } }));
      res.end([{ type: 'content_block_stop', index: 0 }, ...stop('end_turn')].map(record).join(''));
    });
    const events = await exhausts(s, 'model_request_failed_error', 1);
    assert.match(events.find((e) => e.type === 'session.error').error.message, /over 16777216 bytes/);
  });

  // ---- answers that are odd, but answers ----

  for (const [name, write] of Object.entries({
    'one byte at a time': async (res) => {
      head(res);
      for (const byte of Buffer.from(answer('größer 🎉').map(record).join(''))) {
        res.write(Buffer.from([byte]));
        await new Promise((r) => setImmediate(r));
      }
      res.end();
    },
    'with CRLF, comments, ids and unknown records': async (res) => {
      head(res, 'text/event-stream; charset=utf-8');
      const odd = [start, { type: 'new_kind', x: 1 }, ...block(0, { type: 'new_block' }, { type: 'new_delta' }), ...textBlock(1, 'größer 🎉'), ...stop('end_turn')];
      res.end(`: hello\r\n\r\n${odd.map((o) => `id: 7\r\nretry: 5\r\nevent: ${o.type}\r\ndata:${JSON.stringify(o)}\r\n\r\n`).join('')}`);
    },
    'until the connection closes, without a length': async (res) => {
      raw(res, `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n${answer('größer 🎉').map(record).join('')}`);
      res.socket.end();
    },
    'cut right after its last record': async (res) => {
      head(res);
      res.write(answer('größer 🎉').map(record).join(''), () => res.socket.destroy());
    },
  })) {
    test(`an answer ${name}`, async () => {
      const s = await misbehaving(write);
      const events = await turn(client, s.id, say('go'));
      assert.deepEqual(errors(events), []);
      assert.deepEqual(words(events), ['größer 🎉']);
      await works(s);
    });
  }

  // ---- a stream that is cut ----

  for (let i = 0; i <= realLooking.length; i++) {
    test(`a stream cut after ${i} of ${realLooking.length} records`, async () => {
      const s = await misbehaving((res, n) => {
        if (n > 1) return send(res, realLooking);
        head(res);
        res.write(realLooking.slice(0, i).map(record).join('') || ':\n\n', () => res.socket.destroy());
      });
      const events = await turn(client, s.id, say('go'), { stream: { event_deltas: ['agent.message', 'agent.thinking'] } });
      const whole = i === realLooking.length;
      assert.deepEqual(errors(events), whole ? [] : [['model_request_failed_error', 'retrying']]);
      assert.equal(s.seen().length, whole ? 1 : 2);
      assert.deepEqual(words(events), ['one two']);
      assert.equal(events.filter((e) => e.type === 'agent.thinking').length, 1);
      const use = events.filter((e) => e.type === 'agent.custom_tool_use');
      assert.deepEqual(use.map((e) => e.input), [{ city: 'Bern' }]);
      assert.deepEqual(events.at(-1).stop_reason, { type: 'requires_action', event_ids: [use[0].id] });
      // Previews of the answer that counts, in order, are what its message says.
      const message = events.find((e) => e.type === 'agent.message');
      const deltas = events.filter((e) => e.type === 'event_delta' && e.event_id === message.id);
      assert.equal(deltas.map((e) => e.delta.content.text).join(''), 'one two');
      healed.add(s.model);
      const result = { type: 'user.custom_tool_result', custom_tool_use_id: use[0].id, content: [{ type: 'text', text: 'sunny' }] };
      const end = await turn(client, s.id, result);
      assert.deepEqual(words(end), ['fine']);
      const sent = s.seen().at(-1).body.messages;
      assert.deepEqual(sent.map((m) => m.role), ['user', 'assistant', 'user']);
      assert.deepEqual(sent[1].content.map((b) => b.type), ['thinking', 'text', 'tool_use']);
      assert.equal(sent[1].content[0].signature, 'c2ln');
    });
  }

  // ---- tools that cannot be called ----

  for (const [name, records] of [
    ['input that is no JSON', [start, ...useBlock(0, 'weather', '{"city": '), ...stop('tool_use')]],
    ['input that is no object', [start, ...useBlock(0, 'weather', '[1]'), ...stop('tool_use')]],
    ['input with a member twice', [start, ...useBlock(0, 'weather', '{"a":1,"a":2}'), ...stop('tool_use')]],
    ['input nested 1000 deep', [start, ...useBlock(0, 'weather', `{"a":${'['.repeat(1000)}${']'.repeat(1000)}}`), ...stop('tool_use')]],
    ['a name that nobody knows', [start, ...useBlock(0, 'no_such_tool', '{}'), ...stop('tool_use')]],
    ['a built-in tool that the agent does not have', [start, ...useBlock(0, 'bash', '{"command":"id"}'), ...stop('tool_use')]],
    ['sixty-four unknown tools at once', uses(64)],
  ]) {
    test(`a tool use with ${name}: the model is told, nothing runs`, async () => {
      const s = await misbehaving((res, n) => (n === 1 ? send(res, records) : send(res, answer('I see'))));
      const events = await turn(client, s.id, say('go'));
      wellFormed(events);
      assert.deepEqual(errors(events), []);
      assert.deepEqual(words(events), ['I see']);
      const n = records.filter((r) => r.content_block?.type === 'tool_use').length;
      const results = events.filter((e) => e.type === 'agent.tool_result');
      assert.equal(results.length, n);
      assert.ok(results.every((e) => e.is_error));
      assert.equal(events.filter((e) => e.type === 'agent.tool_use' && e.evaluated_permission === 'deny').length, n);
      const told = s.seen()[1].body.messages.at(-1).content.filter((b) => b.type === 'tool_result');
      assert.equal(told.length, n);
      assert.ok(told.every((b) => b.is_error));
      await works(s);
    });
  }

  // Everything between what we take and what we refuse must come out one way or the other.
  for (const depth of [40, 46, 47, 48, 49, 60, 61, 62, 63, 64, 65]) {
    test(`a tool use with input nested ${depth} deep does not hang`, async () => {
      const input = `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;
      const s = await misbehaving((res, n) => send(res, n === 1 ? [start, ...useBlock(0, 'weather', input), ...stop('tool_use')] : answer('I see')));
      const events = await turn(client, s.id, say('go'));
      const use = events.find((e) => e.type === 'agent.custom_tool_use');
      if (use) {
        assert.equal(JSON.stringify(use.input), input);
        const end = await turn(client, s.id, { type: 'user.custom_tool_result', custom_tool_use_id: use.id, content: [{ type: 'text', text: 'x' }] });
        assert.deepEqual(words(end), ['I see']);
        assert.equal(JSON.stringify(s.seen()[1].body.messages[1].content.find((b) => b.type === 'tool_use').input), input);
      } else {
        assert.ok(events.find((e) => e.type === 'agent.tool_result')?.is_error);
        assert.deepEqual(words(events), ['I see']);
      }
      await works(s);
    });
  }
});

// ---- the key ----

test('the key goes to its provider and nowhere else, even when the provider repeats it', async () => {
  const echo = failure(401, 'authentication_error', { 'request-id': KEY.slice(0, 20) }, `invalid x-api-key: ${KEY}`);
  const a = await misbehaving(echo);
  const b = await misbehaving((res) => {
    res.writeHead(500, { 'content-type': 'application/json' });
    // In two pieces, so that no piece holds it whole.
    const text = JSON.stringify({ type: 'error', error: { type: 'api_error', message: `your key ${KEY} is no good` } });
    const half = text.indexOf(KEY) + 12;
    res.write(text.slice(0, half));
    setTimeout(() => res.end(text.slice(half)), 50);
  });
  const events = [...(await exhausts(a, 'model_request_failed_error', 1)), ...(await exhausts(b, 'model_request_failed_error'))];
  assert.ok(!JSON.stringify(events).includes(KEY), 'the key is in an event');
  for (const [model, list] of requests) {
    assert.ok(list.every((r) => r.headers['x-api-key'] === KEY), model);
    assert.ok(list.every((r) => r.url === '/v1/messages' && r.headers['anthropic-version'] === '2023-06-01'));
    assert.ok(!JSON.stringify(list.map((r) => r.body)).includes(KEY));
  }
  assert.ok(!server.log().includes(KEY), 'the key is in the log');
  for (const pid of [server.child.pid, ...descendants(server.child.pid)]) assert.ok(!cmdline(pid).join(' ').includes(KEY));
  const files = (dir) =>
    readdirSync(dir, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? files(join(dir, e.name)) : e.isFile() ? [join(dir, e.name)] : []));
  for (const f of files(server.dir)) if (statSync(f).size < 64 << 20) assert.ok(!readFileSync(f).includes(KEY), `the key is in ${f}`);
});

// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { assertValid, rejects, startServer } from './lib/server.mjs';

let server, client;
before(async () => {
  server = await startServer();
  client = server.client();
});
after(async () => {
  await server?.remove();
  assertValid();
});

test('agent: create, normalised, and read back', async () => {
  const a = await client.beta.agents.create({
    name: 'one',
    model: 'puppet',
    tools: [{ type: 'agent_toolset_20260401', configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }] }],
    metadata: { team: 'x' },
  });
  assert.equal(a.type, 'agent');
  assert.match(a.id, /^agent_01/);
  assert.equal(a.version, 1);
  assert.equal(a.model.id, 'puppet');
  assert.equal(a.model.speed, 'standard');
  assert.ok(a.model.effort.type);
  assert.deepEqual(a.execution_identity, { type: 'service_account' });
  assert.equal(a.system, null);
  assert.equal(a.archived_at, null);
  assert.deepEqual(a.tools[0].default_config, { enabled: true, permission_policy: { type: 'always_allow' } });
  assert.deepEqual(a.tools[0].configs, [
    { name: 'bash', type: 'bash', enabled: true, permission_policy: { type: 'always_ask' } },
  ]);
  assert.deepEqual(await client.beta.agents.retrieve(a.id), a);
});

test('agent: an update makes a version, one without effect makes none', async () => {
  const a = await client.beta.agents.create({ name: 'two', model: 'puppet', system: 'be brief' });
  const same = await client.beta.agents.update(a.id, { system: 'be brief' });
  assert.equal(same.version, 1);
  const b = await client.beta.agents.update(a.id, { system: '', metadata: { k: 'v' }, version: 1 });
  assert.equal(b.version, 2);
  assert.equal(b.system, null);
  assert.deepEqual(b.metadata, { k: 'v' });
  const c = await client.beta.agents.update(a.id, { metadata: { k: null } });
  assert.deepEqual(c.metadata, {});
  assert.equal((await client.beta.agents.retrieve(a.id, { version: 1 })).system, 'be brief');
  const versions = [];
  for await (const v of client.beta.agents.versions.list(a.id)) versions.push(v.version);
  assert.deepEqual(versions, [3, 2, 1]);
});

test('agent: a stale version is a conflict on the first attempt', async () => {
  let calls = 0;
  const counting = server.client({ maxRetries: 2, fetch: (...a) => (calls++, fetch(...a)) });
  const a = await client.beta.agents.create({ name: 'three', model: 'puppet' });
  await client.beta.agents.update(a.id, { name: 'three b' });
  await rejects(counting.beta.agents.update(a.id, { name: 'x', version: 1 }), Anthropic.ConflictError, /version/);
  assert.equal(calls, 1);
  await rejects(client.beta.agents.update(a.id, { name: 'three b', version: 1 }), Anthropic.ConflictError, /version/);
});

test('agent: archive is idempotent and final', async () => {
  const a = await client.beta.agents.create({ name: 'four', model: 'puppet' });
  const b = await client.beta.agents.archive(a.id);
  assert.ok(b.archived_at);
  assert.equal((await client.beta.agents.archive(a.id)).archived_at, b.archived_at);
  await rejects(client.beta.agents.update(a.id, { name: 'y' }), Anthropic.BadRequestError, /archived/);
  const ids = [];
  for await (const x of client.beta.agents.list()) ids.push(x.id);
  assert.ok(!ids.includes(a.id));
  const all = [];
  for await (const x of client.beta.agents.list({ include_archived: true })) all.push(x.id);
  assert.ok(all.includes(a.id));
});

test('agent: auto-pagination over more than 100', async () => {
  const made = [];
  for (let i = 0; i < 105; i++) made.push((await client.beta.agents.create({ name: `p${i}`, model: 'puppet' })).id);
  const seen = [];
  for await (const a of client.beta.agents.list({ limit: 40 })) seen.push(a.id);
  assert.deepEqual(seen.slice(0, 105), made.reverse());
  assert.equal(new Set(seen).size, seen.length);
});

const bad = [
  [{ model: 'puppet' }, /name: Field required/],
  [{ name: '', model: 'puppet' }, /name: /],
  [{ name: 'x'.repeat(257), model: 'puppet' }, /name: .*256/],
  [{ name: 'x' }, /model: /],
  [{ name: 'x', model: { id: 'puppet', speed: 'warp' } }, /model\.speed: /],
  [{ name: 'x', model: 'puppet', surprise: 1 }, /surprise: Extra inputs are not permitted/],
  [{ name: 'x', model: 'puppet', tools: [{ type: 'nope' }] }, /tools\.0\.type: /],
  [{ name: 'x', model: 'puppet', tools: [{ type: 'agent_toolset_20260401', configs: [{ name: 'fly' }] }] }, /tools\.0\.configs\.0\.name: /],
  [{ name: 'x', model: 'puppet', tools: [{ type: 'custom', name: 'a b', description: 'd', input_schema: { type: 'object' } }] }, /tools\.0\.name: /],
  [{ name: 'x', model: 'puppet', tools: [{ type: 'custom', name: 'a', description: 'd', input_schema: { type: 'array' } }] }, /tools\.0\.input_schema\.type: /],
  [{ name: 'x', model: 'puppet', tools: [{ type: 'mcp_toolset', mcp_server_name: 'ghost' }] }, /ghost|mcp_server_name/],
  [{ name: 'x', model: 'puppet', mcp_servers: [{ type: 'url', name: 'm', url: 'https://m.test/' }] }, /mcp_servers\.0|m/],
  [{ name: 'x', model: 'puppet', system: 'y'.repeat(100001) }, /system: .*100000/],
  [{ name: 'x', model: 'puppet', metadata: { k: 1 } }, /metadata/],
  [{ name: 'x', model: 'puppet', metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v'])) }, /metadata/],
  [{ name: 'x', model: 'puppet', tools: [{ type: 'agent_toolset_20260401', configs: [{ name: 'web_fetch', allowed_domains: ['a.example.com'], blocked_domains: ['b.example.com'] }] }] }, /Only one of allowed_domains or blocked_domains may be set/],
  [{ name: 'x', model: 'puppet', tools: [{ type: 'agent_toolset_20260401', configs: [{ name: 'web_fetch', allowed_domains: ['127.1'] }] }] }, /allowed_domains\.0: IP addresses are not supported/],
];
for (const [i, [body, pattern]] of bad.entries()) {
  test(`agent: bad create ${i} ${pattern}`, () => rejects(client.beta.agents.create(body), Anthropic.BadRequestError, pattern));
}

test('agent: unknown ids, keys and headers', async () => {
  await rejects(client.beta.agents.retrieve('agent_01nothere'), Anthropic.NotFoundError, /not found/i);
  await rejects(server.client({ apiKey: 'pfk_wrong' }).beta.agents.list(), Anthropic.AuthenticationError, /key/i);
  const raw = (headers) => fetch(`${server.url}/v1/agents`, { headers });
  const beta = { 'anthropic-beta': 'managed-agents-2026-04-01' };
  assert.equal((await raw({ 'x-api-key': server.key })).status, 404);
  assert.equal((await raw({ 'x-api-key': server.key, ...beta })).status, 200);
  assert.equal((await raw({ authorization: `Bearer ${server.key}`, ...beta })).status, 200);
  assert.equal((await raw({ authorization: `Bearer ${server.key}x`, 'x-api-key': server.key, ...beta })).status, 401);
  assert.equal((await raw(beta)).status, 401);
});

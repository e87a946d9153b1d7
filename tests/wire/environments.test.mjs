// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { assertValid, makeSession, rejects, startServer } from './lib/server.mjs';

let server, client;
before(async () => {
  server = await startServer();
  client = server.client();
});
after(async () => {
  await server?.remove();
  assertValid();
});

test('environment: create, get, update, archive', async () => {
  const e = await client.beta.environments.create({
    name: 'py',
    config: {
      type: 'cloud',
      networking: { type: 'limited', allowed_hosts: ['a.example.com', '*.b.example.com'], allow_package_managers: true },
      packages: { pip: ['requests'] },
    },
    metadata: { a: '1' },
  });
  assert.match(e.id, /^env_01/);
  assert.equal(e.config.networking.allow_mcp_servers, false);
  assert.deepEqual(e.config.packages.pip, ['requests']);
  assert.deepEqual(e.config.packages.apt, []);
  assert.deepEqual(await client.beta.environments.retrieve(e.id), e);
  const u = await client.beta.environments.update(e.id, { description: 'd', metadata: { a: '' } });
  assert.equal(u.description, 'd');
  assert.deepEqual(u.metadata, {});
  assert.deepEqual(u.config, e.config);
  await assert.rejects(client.beta.environments.update(e.id, { config: { type: 'self_hosted' } }), (x) => {
    assert.equal(x.error?.error?.details?.error_code, 'invalid_config_type_change');
    return true;
  });
  const a = await client.beta.environments.archive(e.id);
  assert.ok(a.archived_at);
  await assert.rejects(client.beta.environments.update(e.id, { name: 'z' }), (x) => {
    assert.equal(x.error?.error?.details?.error_code, 'environment_archived');
    return true;
  });
});

test('environment: names are unique', async () => {
  await client.beta.environments.create({ name: 'once' });
  await rejects(client.beta.environments.create({ name: 'once' }), Anthropic.ConflictError, /name/);
});

test('environment: delete is refused while a session uses it', async () => {
  const { session, environment } = await makeSession(client);
  await rejects(client.beta.environments.delete(environment.id), Anthropic.BadRequestError, /used by sessions/);
  await client.beta.sessions.delete(session.id);
  const gone = await client.beta.environments.delete(environment.id);
  assert.deepEqual(gone, { id: environment.id, type: 'environment_deleted' });
  await rejects(client.beta.environments.retrieve(environment.id), Anthropic.NotFoundError, /not found/i);
});

test('environment: an archived one takes no new session', async () => {
  const { agent, environment } = await makeSession(client);
  await client.beta.environments.archive(environment.id);
  await rejects(client.beta.sessions.create({ agent: agent.id, environment_id: environment.id }), Anthropic.BadRequestError, /archived/);
});

const cloud = (networking) => ({ name: `n${Math.random()}`, config: { type: 'cloud', networking } });
const bad = [
  [{}, /name: Field required/],
  [{ name: 'x', config: { type: 'moon' } }, /config\.type: /],
  [{ name: 'x', config: { type: 'self_hosted', packages: {} } }, /config\.packages: Extra/],
  [cloud({ type: 'limited', allowed_hosts: ['https://a.example.com'] }), /config\.networking\.allowed_hosts\.0: /],
  [cloud({ type: 'limited', allowed_hosts: ['a.example.com:80'] }), /config\.networking\.allowed_hosts\.0: /],
  [cloud({ type: 'limited', allowed_hosts: ['a.example.com/x'] }), /config\.networking\.allowed_hosts\.0: /],
  [{ name: 'x', config: { type: 'cloud', packages: { brew: ['x'] } } }, /config\.packages\.brew: Extra/],
  [{ name: 'x', config: { type: 'cloud', networking: { type: 'limited', allowed_hosts: [] }, packages: { apt: ['x'] } } }, /allow_package_managers/],
];
for (const [i, [body, pattern]] of bad.entries()) {
  test(`environment: bad create ${i} ${pattern}`, () => rejects(client.beta.environments.create(body), Anthropic.BadRequestError, pattern));
}

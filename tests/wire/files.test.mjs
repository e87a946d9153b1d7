// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic, { toFile } from '@anthropic-ai/sdk';
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
const upload = async (name = 'a.csv', bytes = 'a,b\n1,2\n', extra = {}) =>
  client.beta.files.upload({ file: await toFile(Buffer.from(bytes), name), ...extra });

test('file: upload, metadata, not downloadable, delete', async () => {
  const f = await upload();
  assert.match(f.id, /^file_01/);
  assert.equal(f.size_bytes, 8);
  assert.equal(f.downloadable, false);
  assert.equal(f.filename, 'a.csv');
  assert.deepEqual(await client.beta.files.retrieveMetadata(f.id), f);
  await assert.rejects(client.beta.files.download(f.id), (e) => e.error?.error?.details?.error_code === 'file_not_downloadable');
  assert.deepEqual(await client.beta.files.delete(f.id), { id: f.id, type: 'file_deleted' });
  await rejects(client.beta.files.retrieveMetadata(f.id), Anthropic.NotFoundError, /not found/i);
});

test('file: a large one, bytes intact in every piece size', async () => {
  const big = Buffer.alloc(5 * 1024 * 1024 + 13, 0);
  for (let i = 0; i < big.length; i++) big[i] = (i * 31 + (i >> 8)) & 255;
  big.write('\r\n--boundary\r\n--', 65530);
  const f = await upload('big.bin', big);
  assert.equal(f.size_bytes, big.length);
});

test('file: empty, odd names, expiry', async () => {
  assert.equal((await upload('empty.txt', '')).size_bytes, 0);
  assert.equal((await upload('dir/inner name.txt')).filename, 'inner name.txt');
  await rejects(upload('a<b.txt'), Anthropic.BadRequestError, /name/);
  await rejects(upload(`${'x'.repeat(256)}.txt`), Anthropic.BadRequestError, /255/);
  const f = await upload('e.txt', 'x', { expires_in_seconds: 3600 });
  assert.ok(Date.parse(f.expires_at) > Date.now());
  await rejects(upload('e.txt', 'x', { expires_in_seconds: 5 }), Anthropic.BadRequestError, /expires_in_seconds/);
});

test('file: lists by page, ids and scope', async () => {
  const made = [];
  for (let i = 0; i < 25; i++) made.push((await upload(`l${i}.txt`, `${i}`)).id);
  const seen = [];
  for await (const f of client.beta.files.list({ limit: 10 })) seen.push(f.id);
  assert.deepEqual(seen.slice(0, 25), made.toReversed());
  const some = await client.beta.files.list({ ids: [made[0], made[5], 'file_01nope'] });
  assert.deepEqual(some.data.map((f) => f.id).sort(), [made[0], made[5]].sort());
  const { session } = await makeSession(client, { session: { resources: [{ type: 'file', file_id: made[0] }] } });
  const scoped = await client.beta.files.list({ scope_id: session.id, betas: ['managed-agents-2026-04-01'] });
  assert.equal(scoped.data.length, 1);
  assert.notEqual(scoped.data[0].id, made[0]);
  assert.deepEqual(scoped.data[0].scope, { type: 'session', id: session.id });
  await rejects(
    client.beta.files.list({ scope_id: 'wrong_1', betas: ['managed-agents-2026-04-01'] }),
    Anthropic.BadRequestError,
    /scope_id/,
  );
});

test('file: broken uploads are refused and leave nothing', async () => {
  const before = (await client.beta.files.list({ limit: 1000 })).data.length;
  const post = (body, type) =>
    fetch(`${server.url}/v1/files`, { method: 'POST', body, headers: { 'x-api-key': server.key, ...(type ? { 'content-type': type } : {}) } });
  const part = (name, file) => `--B\r\ncontent-disposition: form-data; name="${name}"${file ? `; filename="${file}"` : ''}\r\n\r\nx\r\n`;
  const bad = [
    ['{}', 'application/json'],
    ['', 'multipart/form-data; boundary=B'],
    ['x', 'multipart/form-data'],
    [`${part('file', 'a.txt')}`, 'multipart/form-data; boundary=B'],
    [`${part('other')}--B--\r\n`, 'multipart/form-data; boundary=B'],
    [`${part('file', 'a.txt')}${part('file', 'b.txt')}--B--\r\n`, 'multipart/form-data; boundary=B'],
    ['--B\r\nno-colon\r\n\r\nx\r\n--B--\r\n', 'multipart/form-data; boundary=B'],
    [`--B\r\n${'y'.repeat(20000)}`, 'multipart/form-data; boundary=B'],
    ['garbage before --B\r\n', 'multipart/form-data; boundary=B'],
  ];
  for (const [body, type] of bad) {
    const res = await post(body, type);
    assert.equal(res.status, 400, body.slice(0, 60));
    assert.equal((await res.json()).error.type, 'invalid_request_error');
  }
  assert.equal((await client.beta.files.list({ limit: 1000 })).data.length, before);
});

test('resources: add, list, get, remove', async () => {
  const { session } = await makeSession(client);
  const f = await upload('r.txt');
  const api = client.beta.sessions.resources;
  const r = await api.add(session.id, { type: 'file', file_id: f.id, mount_path: '/data/r.txt' });
  assert.match(r.id, /^sesrsc_/);
  assert.equal(r.mount_path, '/mnt/session/uploads/data/r.txt');
  assert.notEqual(r.file_id, f.id);
  assert.deepEqual((await api.list(session.id)).data, [r]);
  assert.deepEqual(await api.retrieve(r.id, { session_id: session.id }), r);
  assert.deepEqual((await client.beta.sessions.retrieve(session.id)).resources, [r]);
  await rejects(api.add(session.id, { type: 'file', file_id: f.id, mount_path: '/data/r.txt' }), Anthropic.BadRequestError, /mount_path/);
  await rejects(api.add(session.id, { type: 'file', file_id: f.id, mount_path: '/../x' }), Anthropic.BadRequestError, /mount_path/);
  await rejects(api.add(session.id, { type: 'file', file_id: 'file_01nope' }), Anthropic.BadRequestError, /file_id/);
  await rejects(api.update(r.id, { session_id: session.id, authorization_token: 'x' }), Anthropic.BadRequestError, /authorization_token/);
  assert.deepEqual(await api.delete(r.id, { session_id: session.id }), { id: r.id, type: 'session_resource_deleted' });
  assert.deepEqual((await api.list(session.id)).data, []);
  await rejects(api.retrieve(r.id, { session_id: session.id }), Anthropic.NotFoundError, /not found/i);
});

test('a session keeps its copy when the upload is deleted', async () => {
  const f = await upload('kept.txt');
  const { session } = await makeSession(client, { session: { resources: [{ type: 'file', file_id: f.id, mount_path: 'k.txt' }] } });
  await client.beta.files.delete(f.id);
  const copy = session.resources[0].file_id;
  assert.equal((await client.beta.files.retrieveMetadata(copy)).size_bytes, 8);
  await client.beta.sessions.delete(session.id);
});

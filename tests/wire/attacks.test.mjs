// SPDX-License-Identifier: Apache-2.0
// What an attacker would try through the API and in the place of the model: nobody else may notice.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { toFile } from '@anthropic-ai/sdk';
import { assertValid, makeSession, say, startServer, turn } from './lib/server.mjs';

let server, client;
before(async () => {
  server = await startServer();
  client = server.client();
});
after(async () => {
  await server?.remove();
  assertValid();
});

const call = (tool, input) => `call ${tool} ${typeof input === 'string' ? input : JSON.stringify(input)}`;
const script = (...lines) => say(['#puppet', ...lines].join('\n'));
const results = (seen) => seen.filter((e) => e.type === 'agent.tool_result');
const nested = (levels) => '{"a":'.repeat(levels) + '1' + '}'.repeat(levels);

// Sends bytes on a connection of its own and gives what comes back within `ms`, or until `enough` says so.
function raw(bytes, { ms = 3000, enough = (s) => /\r\n\r\n/.test(s) } = {}) {
  const [host, port] = server.address.split(':');
  return new Promise((resolve, reject) => {
    const c = connect(Number(port), host);
    let text = '';
    const end = () => {
      c.destroy();
      resolve(text);
    };
    const timer = setTimeout(end, ms);
    c.on('data', (d) => {
      text += d;
      if (enough(text)) {
        clearTimeout(timer);
        end();
      }
    });
    c.on('close', end);
    c.on('error', reject);
    c.write(bytes);
  });
}

test('a tool input at the limits of nesting does not hang its session', async () => {
  const { session } = await makeSession(client);
  for (const levels of [47, 48, 49, 62, 63, 64]) {
    const seen = await turn(client, session.id, script(call('bash', nested(levels)), 'say on'));
    assert.equal(results(seen).length, 1, `${levels} levels`);
    assert.equal(seen.at(-1).stop_reason.type, 'end_turn', `${levels} levels`);
  }
});

test('what an agent may be, its session can hold', async () => {
  for (const levels of [44, 45, 58, 59, 60, 61]) {
    const tools = [{ type: 'custom', name: 'x', description: 'd', input_schema: { type: 'object', properties: JSON.parse(nested(levels)) } }];
    let made;
    try {
      made = await makeSession(client, { agent: { tools } });
    } catch (e) {
      assert.equal(e.status, 400, `${levels} levels: ${e.message}`);
      continue;
    }
    const seen = await turn(client, made.session.id, script('say ok'));
    assert.equal(seen.at(-1).stop_reason.type, 'end_turn', `${levels} levels`);
  }
});

test("the longest mount paths of one session do not break the others' tools", async () => {
  const file = await client.beta.files.upload({ file: await toFile(Buffer.from('x'), 'x.txt') });
  const path = (i, unit) => [0, 1, 2, 3].map(() => unit.repeat(Math.floor(240 / Buffer.byteLength(unit)))).join('/') + `/${String(i).padStart(4, '0')}`;
  const resources = (n, unit) => Array.from({ length: n }, (_, i) => ({ type: 'file', file_id: file.id, mount_path: path(i, unit) }));
  const { session: large } = await makeSession(client, { session: { resources: resources(999, '\u{1F600}') } });
  const { session: other } = await makeSession(client);
  const seen = await Promise.all([large, other].map((s) => turn(client, s.id, script(call('bash', { command: 'echo fine' }), 'say ok'))));
  for (const s of seen) assert.equal(results(s)[0].content[0].text, 'fine');
  const long = { type: 'file', file_id: file.id, mount_path: `${path(0, '\u{1F600}')}/${'\u{1F600}'.repeat(60)}` };
  await assert.rejects(makeSession(client, { session: { resources: [long] } }), { status: 400 });
  assert.doesNotMatch(server.log(), /hands\.lost/);
});

test('without a key a body is neither waited for nor kept', async () => {
  for (const path of ['/v1/agents', '/v1/sessions/sesn_x/events', '/v1/files', '/v1/nothing']) {
    const head = `POST ${path} HTTP/1.1\r\nhost: x\r\nx-api-key: wrong\r\ncontent-type: application/json\r\n`;
    assert.match(await raw(`${head}content-length: 30000000\r\n\r\n{"a":`), /^HTTP\/1.1 401 /, path);
    assert.match(await raw(`${head}transfer-encoding: chunked\r\n\r\n5\r\n{"a":\r\n`), /^HTTP\/1.1 401 /, path);
  }
});

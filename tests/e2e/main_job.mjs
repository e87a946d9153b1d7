// SPDX-License-Identifier: Apache-2.0
//
// The main job through the official TypeScript SDK as npm has it: nothing of it is replaced.
//   main_job.mjs URL KEY SOURCES SCRIPT     prints "ok STEP" or "FAILED STEP: why"; exit 1 after a failure
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(new URL('../wire/package.json', import.meta.url));
const { default: Anthropic, toFile } = require('@anthropic-ai/sdk');
const [url, key, sources, script] = process.argv.slice(2);
const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
const betas = ['managed-agents-2026-04-01'];
let failed = 0;

function check(condition, what) {
  if (!condition) throw new Error(what);
}

async function step(name, fn) {
  try {
    const value = await fn();
    console.log(`ok      ${name}`);
    return value;
  } catch (e) {
    failed++;
    console.log(`FAILED  ${name}: ${e?.message ?? e}`);
    return undefined;
  }
}

async function all(pages) {
  const found = [];
  for await (const x of pages) found.push(x);
  return found;
}

async function refused(promise, kind) {
  try {
    await promise;
  } catch (e) {
    check(e instanceof kind, `${e.constructor.name} instead of ${kind.name}: ${e.message}`);
    check(/^req_/.test(e.requestID ?? ''), 'the error has no request id');
    return;
  }
  throw new Error('it was not refused');
}

async function prepare() {
  await step('models.list names the puppet', async () => {
    const models = await all(client.models.list());
    check(models.some((m) => m.id === 'puppet'), 'puppet is missing');
  });
  const agent = await step('agents.create', () =>
    client.beta.agents.create({
      name: 'e2e',
      model: 'puppet',
      system: 'You build software.',
      tools: [{ type: 'agent_toolset_20260401' }],
      metadata: { job: 'main' },
    }),
  );
  await step('agents.update makes version 2', async () => {
    const next = await client.beta.agents.update(agent.id, { version: agent.version, description: 'builds lz4' });
    check(next.version === 2, `version ${next.version}`);
    const versions = await all(client.beta.agents.versions.list(agent.id));
    check(versions.length === 2, `${versions.length} versions`);
  });
  await step('agents.create without a model is refused', () =>
    refused(client.beta.agents.create({ name: 'e2e' }), Anthropic.BadRequestError),
  );
  const environment = await step('environments.create', () =>
    client.beta.environments.create({ name: 'e2e', config: { type: 'cloud', networking: { type: 'unrestricted' } } }),
  );
  const files = {};
  for (const part of ['lz4.dsc', 'lz4.orig.tar', 'lz4.debian.tar']) {
    await step(`files.upload ${part}`, async () => {
      const bytes = readFileSync(join(sources, part));
      const file = await client.beta.files.upload({ file: await toFile(bytes, part), betas });
      check(file.size_bytes === bytes.length && file.filename === part, JSON.stringify(file));
      files[part] = file.id;
    });
  }
  return { agent, environment, files };
}

// Everything the session did, as the stream told it.
async function run(session) {
  const stream = await client.beta.sessions.events.stream(session.id);
  await client.beta.sessions.events.send(session.id, {
    events: [{ type: 'user.message', content: [{ type: 'text', text: readFileSync(script, 'utf8') }] }],
  });
  const seen = [];
  for await (const event of stream) {
    seen.push(event);
    if (event.type === 'session.status_terminated') break;
    if (event.type === 'session.status_idle' && event.stop_reason.type !== 'requires_action') break;
  }
  stream.controller.abort();
  return seen;
}

async function look(session, seen) {
  const of = (type) => seen.filter((e) => e.type === type);
  await step('the turn ended by itself', () => check(seen.at(-1).stop_reason?.type === 'end_turn', JSON.stringify(seen.at(-1))));
  await step('every tool call has its result, none failed', () => {
    const results = of('agent.tool_result');
    check(of('agent.tool_use').length === results.length && results.length > 10, `${results.length} results`);
    const bad = results.find((r) => r.is_error);
    check(!bad, JSON.stringify(bad?.content));
  });
  await step('the agent says that it is done', () => {
    const text = of('agent.message').at(-1).content.map((b) => b.text).join('');
    check(text.startsWith('Done.') && text.includes('| test-fuzzer | passed |'), text);
  });
  await step('events.list is what the stream told', async () => {
    const ids = (list) => list.filter((e) => e.id && e.processed_at).map((e) => e.id);
    const listed = ids(await all(client.beta.sessions.events.list(session.id, { order: 'asc' })));
    const missing = ids(seen).filter((id) => !listed.includes(id));
    check(missing.length === 0 && new Set(listed).size === listed.length, `missing ${missing}`);
  });
  await step('sessions.retrieve is idle and counted tokens', async () => {
    const s = await client.beta.sessions.retrieve(session.id);
    check(s.status === 'idle' && s.usage.input_tokens > 0 && s.usage.output_tokens > 0, JSON.stringify(s.usage));
  });
  await step('the report can be downloaded', async () => {
    const files = await all(client.beta.files.list({ scope_id: session.id, betas }));
    const report = files.find((f) => f.filename === 'report.md');
    check(report?.downloadable, JSON.stringify(files));
    const text = await (await client.beta.files.download(report.id, { betas })).text();
    check(text.includes('rebuilt in a pinfold'), text);
  });
}

async function close({ agent, environment, files }, session) {
  await step('sessions.resources and threads', async () => {
    const resources = await all(client.beta.sessions.resources.list(session.id));
    const threads = await all(client.beta.sessions.threads.list(session.id));
    check(resources.length === 3 && threads.length === 1, `${resources.length} and ${threads.length}`);
  });
  await step('sessions.list has it', async () => {
    const list = await all(client.beta.sessions.list({ agent_id: agent.id }));
    check(list.some((s) => s.id === session.id), `${list.length} sessions`);
  });
  await step('sessions.archive, sessions.delete', async () => {
    check((await client.beta.sessions.archive(session.id)).archived_at, 'not archived');
    check((await client.beta.sessions.delete(session.id)).type === 'session_deleted', 'not deleted');
    await refused(client.beta.sessions.retrieve(session.id), Anthropic.NotFoundError);
  });
  await step('the rest is put away', async () => {
    for (const id of Object.values(files)) await client.beta.files.delete(id, { betas });
    await client.beta.environments.delete(environment.id);
    check((await client.beta.agents.archive(agent.id)).archived_at, 'the agent is not archived');
  });
}

const made = await prepare();
if (!failed) {
  const session = await step('sessions.create with three files', () =>
    client.beta.sessions.create({
      agent: made.agent.id,
      environment_id: made.environment.id,
      title: 'e2e',
      resources: Object.entries(made.files).map(([name, id]) => ({
        type: 'file',
        file_id: id,
        mount_path: `/mnt/session/uploads/${name}`,
      })),
    }),
  );
  const seen = session && (await step('the job runs, its events stream', () => run(session)));
  if (seen) {
    await look(session, seen);
    await close(made, session);
  }
}
process.exit(failed ? 1 : 0);

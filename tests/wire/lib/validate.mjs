// SPDX-License-Identifier: Apache-2.0
// Every answer is checked against JSON Schemas generated from the SDK's own types: strict, no extra members.
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Ajv from 'ajv';

const here = dirname(fileURLToPath(import.meta.url));
const cache = join(here, '..', 'node_modules', '.cache', 'shapes.json');

function newer(a, b) {
  return existsSync(a) && statSync(a).mtimeMs > statSync(b).mtimeMs;
}

async function schemas() {
  const source = join(here, 'shapes.ts');
  if (!newer(cache, source)) {
    const tsj = await import('ts-json-schema-generator');
    const schema = tsj
      .createGenerator({ path: source, tsconfig: join(here, 'tsconfig.json'), type: '*', skipTypeCheck: true })
      .createSchema('*');
    mkdirSync(dirname(cache), { recursive: true });
    writeFileSync(`${cache}.${process.pid}`, JSON.stringify(schema));
    renameSync(`${cache}.${process.pid}`, cache);
  }
  return JSON.parse(readFileSync(cache, 'utf8'));
}

const ajv = new Ajv({ strict: false, allErrors: true, allowUnionTypes: true });
ajv.addSchema(await schemas(), 'shapes');

const compiled = new Map();
function validator(type) {
  if (!compiled.has(type)) compiled.set(type, ajv.compile({ $ref: `shapes#/definitions/${type}` }));
  return compiled.get(type);
}

// Unions carry a `type` constant: naming the member keeps the messages short.
const unions = { SessionEvent: true, StreamEvent: true, Resource: true };

export function check(type, value, where) {
  const v = validator(type);
  if (v(value)) return;
  const errors = unions[type] ? narrow(v.errors, value) : v.errors;
  const text = errors.slice(0, 5).map((e) => `${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`);
  throw new Error(`${where}: not a ${type}: ${text.join('; ')}\n${JSON.stringify(value).slice(0, 2000)}`);
}

function narrow(errors, value) {
  const related = errors.filter((e) => e.keyword === 'additionalProperties' || e.keyword === 'required');
  return related.length ? related : errors.length ? errors : [{ instancePath: '', message: `type ${value?.type}`, params: {} }];
}

// [method, path pattern, type of the answer, 'one' | 'page' | 'bidirectional' | 'models']
const beta = (headers) => (headers.get('anthropic-beta') ?? '').includes('managed-agents-2026-04-01');
const table = [
  ['POST', /^\/v1\/agents(\/[^/]+)?(\/archive)?$/, 'Agent', 'one'],
  ['GET', /^\/v1\/agents$/, 'Agent', 'page'],
  ['GET', /^\/v1\/agents\/[^/]+$/, 'Agent', 'one'],
  ['GET', /^\/v1\/agents\/[^/]+\/versions$/, 'Agent', 'page'],
  ['POST', /^\/v1\/environments(\/[^/]+)?(\/archive)?$/, 'Environment', 'one'],
  ['GET', /^\/v1\/environments$/, 'Environment', 'page'],
  ['GET', /^\/v1\/environments\/[^/]+$/, 'Environment', 'one'],
  ['DELETE', /^\/v1\/environments\/[^/]+$/, 'EnvironmentDeleted', 'one'],
  ['POST', /^\/v1\/sessions(\/[^/]+)?(\/archive)?$/, 'Session', 'one'],
  ['GET', /^\/v1\/sessions$/, 'Session', 'bidirectional'],
  ['GET', /^\/v1\/sessions\/[^/]+$/, 'Session', 'one'],
  ['DELETE', /^\/v1\/sessions\/[^/]+$/, 'SessionDeleted', 'one'],
  ['POST', /^\/v1\/sessions\/[^/]+\/events$/, 'SendEvents', 'one'],
  ['GET', /^\/v1\/sessions\/[^/]+\/events$/, 'SessionEvent', 'page'],
  ['GET', /^\/v1\/sessions\/[^/]+\/threads$/, 'Thread', 'page'],
  ['GET', /^\/v1\/sessions\/[^/]+\/threads\/[^/]+$/, 'Thread', 'one'],
  ['GET', /^\/v1\/sessions\/[^/]+\/threads\/[^/]+\/events$/, 'SessionEvent', 'page'],
  ['GET', /^\/v1\/sessions\/[^/]+\/resources$/, 'Resource', 'page'],
  ['POST', /^\/v1\/sessions\/[^/]+\/resources(\/[^/]+)?$/, 'Resource', 'one'],
  ['GET', /^\/v1\/sessions\/[^/]+\/resources\/[^/]+$/, 'Resource', 'one'],
  ['DELETE', /^\/v1\/sessions\/[^/]+\/resources\/[^/]+$/, 'ResourceDeleted', 'one'],
  ['POST', /^\/v1\/files$/, 'File', 'one'],
  ['GET', /^\/v1\/files$/, 'File', 'page'],
  ['GET', /^\/v1\/files\/[^/]+$/, 'File', 'one'],
  ['DELETE', /^\/v1\/files\/[^/]+$/, 'FileDeleted', 'one'],
  ['GET', /^\/v1\/models$/, 'BetaModel', 'models'],
  ['GET', /^\/v1\/models\/[^/]+$/, 'BetaModel', 'one'],
];

function envelope(kind, value, where) {
  const members = {
    page: ['data', 'next_page'],
    bidirectional: ['data', 'next_page', 'prev_page'],
    models: ['data', 'first_id', 'has_more', 'last_id'],
  }[kind];
  const have = Object.keys(value).sort();
  if (JSON.stringify(have) !== JSON.stringify(members)) throw new Error(`${where}: envelope has ${have}`);
}

export function checkResponse(method, url, requestHeaders, value) {
  const where = `${method} ${url.pathname}`;
  const row = table.find(([m, p]) => m === method && p.test(url.pathname));
  if (!row) {
    if (url.pathname.startsWith('/v1/pinfold/')) return;
    throw new Error(`${where}: no shape is known for this answer`);
  }
  let [, , type, kind] = row;
  if (type === 'File' && beta(requestHeaders)) type = 'BetaFile';
  if (kind === 'one') {
    check(type, value, where);
    return;
  }
  envelope(kind, value, where);
  value.data.forEach((item, i) => check(type, item, `${where} data.${i}`));
}

export function checkError(value, where) {
  const ok =
    value?.type === 'error' &&
    typeof value.error?.type === 'string' &&
    typeof value.error?.message === 'string' &&
    /^req_/.test(value.request_id ?? '');
  if (!ok) throw new Error(`${where}: not an API error: ${JSON.stringify(value).slice(0, 500)}`);
}

# SPDX-License-Identifier: Apache-2.0
"""main_job.py URL KEY SOURCES SCRIPT: the main job through the official Python SDK, which checks every answer.

With _strict_response_validation the SDK refuses an answer that does not fit its own types instead of passing it on.
Prints "ok STEP" or "FAILED STEP: why"; exit 1 after a failure.
"""
import os
import sys

import anthropic

URL, KEY, SOURCES, SCRIPT = sys.argv[1:]
PARTS = ('lz4.dsc', 'lz4.orig.tar', 'lz4.debian.tar')
BETAS = ['managed-agents-2026-04-01']
client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0, _strict_response_validation=True)
failed = 0


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def step(name, fn):
    global failed
    try:
        value = fn()
        print(f'ok      {name}', flush=True)
        return value
    except Exception as e:  # whatever it is, it is the result of this step
        failed += 1
        print(f'FAILED  {name}: {type(e).__name__}: {e}', flush=True)
        return None


def refused(fn, kind):
    try:
        fn()
    except kind as e:
        check((e.request_id or '').startswith('req_'), 'the error has no request id')
        return
    raise AssertionError('it was not refused')


def upload(part):
    path = os.path.join(SOURCES, part)
    with open(path, 'rb') as f:
        file = client.beta.files.upload(file=(part, f, 'application/octet-stream'), betas=BETAS)
    check(file.size_bytes == os.path.getsize(path) and file.filename == part, file)
    return file.id


def versions(agent):
    changed = client.beta.agents.update(agent.id, version=agent.version, description='builds lz4')
    check(changed.version == 2, changed)
    check(len(list(client.beta.agents.versions.list(agent.id))) == 2, 'versions')


def prepare():
    step('models.list names the puppet',
         lambda: check('puppet' in [m.id for m in client.models.list()], 'puppet is missing'))
    agent = step('agents.create', lambda: client.beta.agents.create(
        name='e2e', model='puppet', system='You build software.', tools=[{'type': 'agent_toolset_20260401'}],
        metadata={'job': 'main'}))
    step('agents.update makes version 2', lambda: versions(agent))
    step('agents.create without a name is refused',
         lambda: refused(lambda: client.beta.agents.create(name='', model='puppet'), anthropic.BadRequestError))
    environment = step('environments.create', lambda: client.beta.environments.create(
        name='e2e python', config={'type': 'cloud', 'networking': {'type': 'unrestricted'}}))
    files = {part: step(f'files.upload {part}', lambda: upload(part)) for part in PARTS}
    return agent, environment, files


def run(session):
    """Everything the session did, as the stream told it."""
    seen = []
    with open(SCRIPT, encoding='utf-8') as f:
        text = f.read()
    with client.beta.sessions.events.stream(session.id) as stream:
        client.beta.sessions.events.send(
            session.id, events=[{'type': 'user.message', 'content': [{'type': 'text', 'text': text}]}])
        for event in stream:
            seen.append(event)
            if event.type == 'session.status_terminated':
                break
            if event.type == 'session.status_idle' and event.stop_reason.type != 'requires_action':
                break
    return seen


def results_fit(seen):
    results = [e for e in seen if e.type == 'agent.tool_result']
    uses = [e for e in seen if e.type == 'agent.tool_use']
    check(len(uses) == len(results) > 10, f'{len(uses)} calls, {len(results)} results')
    bad = [r for r in results if r.is_error]
    check(not bad, bad)


def last_words(seen):
    text = ''.join(b.text for b in [e for e in seen if e.type == 'agent.message'][-1].content)
    check(text.startswith('Done.') and '| test-fuzzer | passed |' in text, text)


def same_as_listed(session, seen):
    listed = [e.id for e in client.beta.sessions.events.list(session.id, order='asc')]
    told = [e.id for e in seen if getattr(e, 'processed_at', None)]
    missing = [i for i in told if i not in listed]
    check(not missing and len(set(listed)) == len(listed), f'missing {missing}')


def counted(session):
    s = client.beta.sessions.retrieve(session.id)
    check(s.status == 'idle' and s.usage.input_tokens > 0 and s.usage.output_tokens > 0, s)


def report(session):
    files = list(client.beta.files.list(scope_id=session.id, betas=BETAS))
    found = [f for f in files if f.filename == 'report.md' and f.downloadable]
    check(found, files)
    text = client.beta.files.download(found[0].id, betas=BETAS).read().decode()
    check('rebuilt in a pinfold' in text, text)


def parts(session):
    resources = list(client.beta.sessions.resources.list(session.id))
    threads = list(client.beta.sessions.threads.list(session.id))
    check(len(resources) == 3 and len(threads) == 1, f'{len(resources)} and {len(threads)}')


def remove_session(session):
    check(client.beta.sessions.archive(session.id).archived_at, 'not archived')
    check(client.beta.sessions.delete(session.id).type == 'session_deleted', 'not deleted')
    refused(lambda: client.beta.sessions.retrieve(session.id), anthropic.NotFoundError)


def put_away(agent, environment, files):
    for file in files.values():
        client.beta.files.delete(file, betas=BETAS)
    client.beta.environments.delete(environment.id)
    check(client.beta.agents.archive(agent.id).archived_at, 'the agent is not archived')


def main():
    print(f'#       python3-anthropic {anthropic.__version__}, _strict_response_validation=True', flush=True)
    if not hasattr(client.beta, 'sessions'):
        print('FAILED  this version of the SDK has no beta.sessions: the main job cannot be run with it')
        return
    agent, environment, files = prepare()
    if failed:
        return
    session = step('sessions.create with three files', lambda: client.beta.sessions.create(
        agent=agent.id, environment_id=environment.id, title='e2e',
        resources=[{'type': 'file', 'file_id': i, 'mount_path': f'/mnt/session/uploads/{p}'} for p, i in files.items()]))
    seen = session and step('the job runs, its events stream', lambda: run(session))
    if not seen:
        return
    step('the turn ended by itself', lambda: check(seen[-1].stop_reason.type == 'end_turn', seen[-1]))
    step('every tool call has its result, none failed', lambda: results_fit(seen))
    step('the agent says that it is done', lambda: last_words(seen))
    step('events.list is what the stream told', lambda: same_as_listed(session, seen))
    step('sessions.retrieve is idle and counted tokens', lambda: counted(session))
    step('the report can be downloaded', lambda: report(session))
    step('sessions.resources and threads', lambda: parts(session))
    step('sessions.list has it',
         lambda: check(session.id in [s.id for s in client.beta.sessions.list(agent_id=agent.id)], 'not in the list'))
    step('sessions.archive, sessions.delete', lambda: remove_session(session))
    step('the rest is put away', lambda: put_away(agent, environment, files))


main()
sys.exit(1 if failed or not hasattr(client.beta, 'sessions') else 0)

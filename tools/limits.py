#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check-limits [--root DIR]: the size budgets of functions and files.

Function: 60 lines, McCabe 15 (a switch counts once: with -Wswitch-enum every value has its arm), 5 parameters, 4 levels of
braces below its own. File: 800 lines of .c, 250 of .h. Exceptions: tools/limits.allow, lines `path:function:what  reason`
with what = lines, mccabe, params, nesting; for a file `path::lines`.
"""
import re
import subprocess
from collections import namedtuple

from checklib import Allow, Report, c_files, split_c, start, text

LINES, MCCABE, PARAMS, NESTING, C_LINES, H_LINES = 60, 15, 5, 4, 800, 250
Function = namedtuple('Function', 'path name line lines mccabe params nesting')
PMCCABE = re.compile(r'^(\d+)\t\d+\t\d+\t(\d+)\t(\d+)\t(.+?)\((\d+)\): (.+)$')


def count_params(head):
    """Parameters of the text between a function's outer parentheses."""
    depth, n = 0, 1
    if head.strip() in ('', 'void'):
        return 0
    for ch in head:
        depth += (ch in '([{') - (ch in ')]}')
        n += ch == ',' and depth == 0
    return n


def deepest(body):
    depth = most = 0
    for ch in body:
        depth += (ch == '{') - (ch == '}')
        most = max(most, depth)
    return most - 1


def shape(code_lines, name_line, last_line, name):
    """Parameters and nesting of the function whose name stands on name_line."""
    code = '\n'.join(code_lines[name_line - 1:last_line])
    at = code.find('(', max(code.find(name), 0))
    depth = 0
    for i in range(at, len(code)):
        depth += (code[i] == '(') - (code[i] == ')')
        if depth == 0:
            return count_params(code[at + 1:i]), deepest(code[i + 1:])
    return 0, 0


def functions(paths):
    """Every function of the files, measured; and the complaints of pmccabe, as (path, line, message)."""
    if not paths:
        return [], []
    out = subprocess.run(['pmccabe'] + paths, capture_output=True, text=True, check=False)
    code, found, wrong = {}, [], []
    for line in out.stdout.splitlines():
        m = PMCCABE.match(line)
        if not m:
            continue
        mccabe, first, lines, path, at, name = int(m[1]), int(m[2]), int(m[3]), m[4], int(m[5]), m[6]
        if path not in code:
            code[path] = split_c(text(path) or '')[0].split('\n')
        params, nesting = shape(code[path], at, first + lines - 1, name)
        if name.isupper():
            params = 0  # a macro that writes a function: what stands there is not its parameters
        found.append(Function(path, name, at, lines, mccabe, params, nesting))
    for line in out.stderr.splitlines():
        where = re.match(r'^(.+?):(\d+): (.*)$', line)
        if where:
            wrong.append((where[1], int(where[2]), 'pmccabe cannot read this: ' + where[3]))
    return found, wrong


def main():
    start(__doc__)
    report = Report('check-limits')
    allow = Allow('tools/limits.allow', report)
    sources = c_files()
    found, wrong = functions([p for p in sources if p.endswith('.c')])
    for path, line, message in wrong:
        report.add(path, line, message)
    for f in found:
        for what, limit in (('lines', LINES), ('mccabe', MCCABE), ('params', PARAMS), ('nesting', NESTING)):
            value = getattr(f, what)
            if value > limit and not allow.has(f'{f.path}:{f.name}:{what}'):
                report.add(f.path, f.line, f'{f.name}: {what} {value}, the budget is {limit}')
    for path in sources:
        limit = C_LINES if path.endswith('.c') else H_LINES
        lines = (text(path) or '').count('\n')
        if lines > limit and not allow.has(f'{path}::lines'):
            report.add(path, limit + 1, f'{lines} lines, the budget of a file is {limit}')
    allow.finish()
    report.finish()


if __name__ == '__main__':
    main()

# SPDX-License-Identifier: Apache-2.0
"""What the checkers in this folder share: the list of files, a C tokenizer, allow-lists, the report.

A checker walks the tree it stands in, or the one given with --root (its own tests do that), and prints
`file:line: message` for each finding; it exits 1 when there is one.
"""
import os
import re
import subprocess
import sys

TOKEN = re.compile(
    r'//(?:\\\n|[^\n])*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


class Report:
    """Collects findings, prints them sorted and ends the program."""

    def __init__(self, name):
        self.name = name
        self.found = []

    def add(self, path, line, message):
        self.found.append((path, line, message))

    def finish(self):
        for path, line, message in sorted(set(self.found)):
            print(f'{path}:{line}: {message}')
        if self.found:
            print(f'{self.name}: {len(set(self.found))} findings', file=sys.stderr)
        sys.exit(1 if self.found else 0)


def start(doc):
    """Parses the command line, enters the tree; returns what followed the options."""
    args = sys.argv[1:]
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
    if args and args[0] in ('-h', '--help'):
        print(doc.strip())
        sys.exit(0)
    if args and args[0] == '--root':
        root = args[1]
        args = args[2:]
    os.chdir(root)
    return args


def run(*argv):
    """Standard output of a command that must succeed."""
    return subprocess.run(argv, check=True, capture_output=True, text=True, errors='replace').stdout


def walk():
    for folder, dirs, names in os.walk('.'):
        dirs[:] = [d for d in dirs if not d.startswith('build')
                   and d not in ('.git', '.work', 'node_modules', '__pycache__')]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), '.')


def files(*suffixes, under=''):
    """Every file of the tree that git would keep, or all of them where there is no git."""
    if os.path.isdir('.git') or os.path.isfile('.git'):
        found = run('git', 'ls-files', '-co', '--exclude-standard', '-z').split('\0')
    else:
        found = walk()
    return sorted(p for p in set(found)
                  if p and p.endswith(suffixes or ('',)) and p.startswith(under) and os.path.isfile(p)
                  and not os.path.islink(p))


def c_files(under=''):
    return files('.c', '.h', under=under)


def text(path):
    """The file as text, or None when it is binary."""
    with open(path, 'rb') as f:
        data = f.read()
    if b'\0' in data:
        return None
    return data.decode('utf-8', errors='replace')


def blank(match):
    """Spaces of the same shape, so that lines and columns stay where they were."""
    return re.sub(r'[^\n]', ' ', match)


def split_c(source, keep_strings=False):
    """Returns (code, comments): code with comments (and the inside of strings) blanked, same length as the source;
    comments as (offset, text)."""
    comments = []

    def one(m):
        tok = m.group(0)
        if tok.startswith('/'):
            comments.append((m.start(), tok))
            return blank(tok)
        return tok if keep_strings else tok[0] + blank(tok[1:-1]) + tok[-1]

    return TOKEN.sub(one, source), comments


def line_of(source, offset):
    return source.count('\n', 0, offset) + 1


def call_args(code, start_at):
    """The text between the parentheses that open at start_at."""
    depth = 0
    for i in range(start_at, len(code)):
        if code[i] == '(':
            depth += 1
        elif code[i] == ')':
            depth -= 1
            if depth == 0:
                return code[start_at + 1:i]
    return code[start_at + 1:]


class Allow:
    """An allow-list of lines `key  reason`. A line without a reason, or that allows nothing any more, is a finding."""

    def __init__(self, path, report):
        self.path = path
        self.report = report
        self.lines = {}
        self.used = set()
        if not os.path.exists(path):
            return
        with open(path, encoding='utf-8') as f:
            for number, line in enumerate(f, 1):
                line = line.strip()
                if not line or line.startswith('#'):
                    continue
                key, _, reason = line.partition(' ')
                if not reason.strip():
                    report.add(path, number, f'{key}: an exception needs a reason')
                self.lines[key] = number

    def has(self, key):
        if key in self.lines:
            self.used.add(key)
            return True
        return False

    def finish(self):
        for key, number in self.lines.items():
            if key not in self.used:
                self.report.add(self.path, number, f'{key}: allows nothing any more, remove it')

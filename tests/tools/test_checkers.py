#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each checker refuses what it is there to refuse, names file and line, and lets the good tree pass.

Every case copies one small good tree, changes one thing and looks for one message.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

TOOLS = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..', 'tools'))
SPDX = '/* SPDX-License-Identifier: Apache-2.0 */\n'
# Words that the real tree may not contain are put together here.
NOTE, SLASH = 'TO' + 'DO', '/'

HEADER = SPDX + '''/*
 * A good header.
 */
#pragma once

#include "base/err.h"

/* Says what it does. */
int good_run(int a);

/* A group: */
int good_a(void);
int good_b(void);
'''
SOURCE = SPDX + '''#include "io/good.h"

#include <fcntl.h>

static const int table[] = {1, 2};

int
good_run(int a)
{
	return a + table[0] + open("x", O_RDONLY | O_CLOEXEC);
}
'''
TREE = {
    'src/base/err.h': SPDX + '/*\n * Errors.\n */\n#pragma once\n',
    'src/io/good.h': HEADER,
    'src/io/good.c': SOURCE,
    'src/io/meson.build': "io_src = files(\n  'good.c',\n)\n",
    'docs/a.md': '# Title here\n\n[b](b.md) [self](#title-here) [up](../src/io/good.h)\n',
    'docs/b.md': 'B.\n',
    'tools/layers.txt': 'folder src/base: |\nfolder src/io: base | uv.h\nlibc fcntl.h stdio.h sys/\n',
    'tools/words.deny': 'forbidden-word\tthis is not said\n',
}


class Checkers(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix='pinfold-tools-')
        self.addCleanup(shutil.rmtree, self.root)
        shutil.copy(os.path.join(TOOLS, '..', '.clang-format'), self.root)
        for path, body in TREE.items():
            self.write(path, body)

    def write(self, path, body):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(body)

    def run_check(self, name, *args):
        done = subprocess.run([os.path.join(TOOLS, 'check-' + name), '--root', self.root, *args], check=False,
                              capture_output=True, text=True, env=dict(os.environ, PYTHONDONTWRITEBYTECODE='1'))
        return done.returncode, done.stdout + done.stderr

    def passes(self, name, *args):
        code, out = self.run_check(name, *args)
        self.assertEqual(code, 0, out)

    def refuses(self, name, where, *words, args=()):
        """`where` is path:line of the finding, or only a path."""
        code, out = self.run_check(name, *args)
        self.assertEqual(code, 1, out)
        lines = [line for line in out.splitlines() if line.startswith(where + ':')]
        self.assertTrue(any(all(w in line for w in words) for line in lines), f'{where} {words} not in:\n{out}')

    def add_source(self, more, path='src/io/good.c', body=SOURCE):
        self.write(path, body + more)
        return body.count('\n') + 1

    def test_good_tree(self):
        for name in ('style', 'format', 'layers', 'limits', 'docs', 'words', 'links', 'build'):
            with self.subTest(name):
                self.passes(name)

    # check-style

    def test_style_licence(self):
        self.write('src/io/good.c', SOURCE.replace(SPDX, '', 1))
        self.refuses('style', 'src/io/good.c:1', 'SPDX')
        self.write('tools/x.sh', '#!/bin/sh\n')
        self.refuses('style', 'tools/x.sh:1', 'licence')

    def test_style_banned_calls(self):
        for name in ('atoi', 'strtol', 'sscanf', 'strtok', 'strcpy', 'strcat', 'sprintf', 'gets', 'alloca', 'system'):
            with self.subTest(name):
                at = self.add_source(f'\nint\ng(char *s)\n{{\n\treturn {name}(s);\n}}\n')
                self.refuses('style', f'src/io/good.c:{at + 4}', name)

    def test_style_banned_names_in_strings_and_members_pass(self):
        self.add_source('\nint\ng(struct x *o)\n{\n\treturn o->system(o) + o->x.accept(1) + f("atoi(1)"); /* not atoi(2) */\n}\n')
        self.passes('style')

    def test_style_close_on_exec(self):
        for call in ('open("x", O_RDONLY)', 'socket(1, 2, 3)', 'openat(1,\n\t\t"x", 0)', 'accept(1, 0, 0)', 'pipe(p)',
                     'dup(1)', 'fopen("x", "r")', 'epoll_create1(0)', 'memfd_create("x", 0)'):
            with self.subTest(call):
                at = self.add_source(f'\nint\ng(int *p)\n{{\n\treturn {call};\n}}\n')
                self.refuses('style', f'src/io/good.c:{at + 4}')

    def test_style_close_on_exec_in_a_constant_passes(self):
        self.add_source('\n#define FLAGS (O_PATH | O_CLOEXEC)\n\nenum { MORE = O_RDONLY | O_CLOEXEC };\n\nint\ng(void)\n{\n'
                        '\treturn open("/", FLAGS) + open("/", MORE);\n}\n')
        self.passes('style')

    def test_style_own_header_first(self):
        self.write('src/io/good.c', SOURCE.replace('#include "io/good.h"', '#include <stdio.h>\n\n#include "io/good.h"'))
        self.refuses('style', 'src/io/good.c:2', 'own header')

    def test_style_comments(self):
        for line, word in (('// prose', 'prose'), (f'/* {NOTE}: later */', NOTE), ('/* return good_run(1); */', 'commented'),
                           ('/*\n * a = good_run(2);\n */', 'commented'), ('#if 0\n#endif', 'never compiled')):
            with self.subTest(line):
                self.add_source('\n' + line + '\n')
                self.refuses('style', 'src/io/good.c', word)

    def test_style_example_in_comment_passes(self):
        self.add_source('\n/*\n * Call it like this:\n *\n *   x = good_run(1);\n */\n')
        self.passes('style')

    def test_style_typedef_and_guard(self):
        self.write('src/io/good.h', HEADER.replace('#pragma once\n', '') + '\ntypedef struct y { int z; } y;\n')
        self.refuses('style', 'src/io/good.h', 'typedef')
        self.refuses('style', 'src/io/good.h:1', 'pragma')

    def test_style_blanks(self):
        for body, word in (('x \n', 'trailing'), ('x\r\n', 'carriage'), ('x', 'newline')):
            self.write('docs/b.md', body)
            self.refuses('style', 'docs/b.md:1', word)

    def test_allow_list(self):
        self.add_source('\nint\ng(char *s)\n{\n\treturn atoi(s);\n}\n')
        self.write('tools/style.allow', 'src/io/good.c:atoi  a test\n')
        self.passes('style')
        self.write('tools/style.allow', 'src/io/good.c:atoi\n')
        self.refuses('style', 'tools/style.allow:1', 'reason')
        self.write('tools/style.allow', 'src/io/good.c:atoi  a test\nsrc/io/good.c:strtol  a test\n')
        self.refuses('style', 'tools/style.allow:2', 'nothing any more')

    # check-format

    def test_format(self):
        self.add_source('\nint g(void) {return 1;}\n')
        self.refuses('format', 'src/io/good.c')

    # check-layers

    def test_layers(self):
        for include, word in (('"store/store.h"', 'store'), ('<sqlite3.h>', 'sqlite3.h'), ('<strange.h>', 'strange.h'),
                              ('"good.h"', 'name it from src/'), ('"../io/good.h"', 'upwards')):
            with self.subTest(include):
                self.write('src/io/good.c', SPDX + f'#include {include}\n')
                self.refuses('layers', 'src/io/good.c:2', word)

    def test_layers_unknown_folder(self):
        self.write('src/new/x.c', SPDX + '#include <stdio.h>\n')
        self.refuses('layers', 'src/new/x.c:2', 'no line')

    def test_layers_only_and_except(self):
        self.write('src/io/good.c', SPDX + '#include <uv.h>\n')
        self.write('tools/layers.txt', TREE['tools/layers.txt'] + 'only uv.h: src/io/loop.c\n')
        self.refuses('layers', 'src/io/good.c:2', 'src/io/loop.c only')
        self.write('tools/layers.txt', TREE['tools/layers.txt'] + 'except src/io/good.c fcntl.h\n')
        self.refuses('layers', 'tools/layers.txt:4', 'reason')

    def test_layers_circle(self):
        self.write('tools/layers.txt', 'folder src/base: io |\nfolder src/io: base |\nlibc fcntl.h\n')
        self.refuses('layers', 'tools/layers.txt:1', 'circle')

    # check-limits

    def test_limits(self):
        deep = 'if (a) {\n' * 5 + 'a = 1;\n' + '}\n' * 5
        for body, word in (('a++;\n' * 60, 'lines'), ('if (a) a++;\n' * 15, 'mccabe'), (deep, 'nesting')):
            with self.subTest(word):
                at = self.add_source(f'\nint\ng(int a)\n{{\n{body}}}\n')
                self.refuses('limits', f'src/io/good.c:{at + 2}', 'g: ' + word)
        at = self.add_source('\nint\ng(int a, int (*b)(int, int), int c, int d,\n\tint e, int f)\n{\n\treturn 1;\n}\n')
        self.refuses('limits', f'src/io/good.c:{at + 2}', 'g: params 6')

    def test_limits_at_the_budget_pass(self):
        self.add_source('\nint\ng(int a, int (*b)(int, int), int c, int d, int e)\n{\n' + 'if (a)\na++;\n' * 14 +
                        'a++;\n' * 28 + '}\n')
        self.passes('limits')

    def test_limits_files(self):
        self.write('src/io/good.h', HEADER + '\n' * 250)
        self.refuses('limits', 'src/io/good.h:251', 'file')
        self.write('src/io/good.c', SOURCE + '\n' * 800)
        self.refuses('limits', 'src/io/good.c:801', 'file')

    # check-globals

    def test_globals(self):
        self.write('src/io/good.c', SPDX + '''static const char *const fixed[] = {"a"};
static int counter;
_Thread_local int per_thread = 3;

const char *
good_name(int i)
{
	static int calls;
	return fixed[i + ++calls + ++counter + per_thread];
}
''')
        obj = os.path.join(self.root, 'build', 'good.o')
        os.makedirs(os.path.dirname(obj))
        subprocess.run(['gcc', '-fPIE', '-c', '-o', obj, os.path.join(self.root, 'src/io/good.c')], check=True)
        self.write('build/compile_commands.json', '[{"directory": "%s/build", "file": "../src/io/good.c", "output": "good.o"}]'
                   % self.root)
        for name in ('counter', 'per_thread', 'calls'):
            self.refuses('globals', 'src/io/good.c', name)
        self.assertNotIn('fixed', self.run_check('globals')[1])
        self.write('tools/globals.allow', ''.join(f'src/io/good.c:{n}  a test\n' for n in ('counter', 'per_thread', 'calls')))
        self.passes('globals')

    def test_globals_without_a_build(self):
        self.assertEqual(self.run_check('globals')[0], 2)

    # check-docs

    def test_docs(self):
        for bare in ('int good_bare(int a);', 'struct str\n*good_bare(void);', 'static inline int\ngood_bare(int a)\n{\n\treturn a;\n}',
                     '__attribute__((cold)) int good_bare(const char *f, ...) __attribute__((format(printf, 1, 2)));'):
            with self.subTest(bare):
                self.write('src/io/good.h', HEADER + '\n' + bare + '\n')
                self.refuses('docs', f'src/io/good.h:{HEADER.count(chr(10)) + 2}', 'good_bare')

    def test_docs_what_needs_none(self):
        self.write('src/io/good.h', HEADER + '\nDEFINE_AUTO(good, struct good *, good_free, NULL);\n\nstruct ops {\n'
                   '\tint (*run)(int a);\n};\n\n#define F(x) g(x);\n\nint good_c(void); /* behind it */\n\nextern const int good_d[];\n')
        self.passes('docs')

    def test_docs_header_paragraph(self):
        self.write('src/io/good.h', SPDX + '#pragma once\n\n/* Says. */\nint good_run(int a);\n')
        self.refuses('docs', 'src/io/good.h:1', 'paragraph')

    # check-words

    def test_words(self):
        self.write('docs/b.md', 'One.\nA Forbidden-Word stands here.\n')
        self.refuses('words', 'docs/b.md:2', 'this is not said')

    def test_words_in_a_file_name(self):
        self.write('docs/forbidden-word.md', 'B.\n')
        self.refuses('words', 'docs/forbidden-word.md:1')

    def test_words_in_a_commit(self):
        git = ['git', '-C', self.root, '-c', 'user.name=n', '-c', 'user.email=n@example.org', '-c', 'commit.gpgsign=false']
        subprocess.run(git + ['init', '-q'], check=True)
        subprocess.run(git + ['commit', '-q', '--allow-empty', '-m', 'a: b\n\nforbidden-word'], check=True)
        name = subprocess.run(git + ['rev-parse', '--short', 'HEAD'], check=True, capture_output=True, text=True).stdout
        self.refuses('words', f'commit {name.strip()}:3', 'this is not said')

    def test_words_real_list(self):
        shutil.copy(os.path.join(TOOLS, 'words.deny'), os.path.join(self.root, 'tools'))
        bad = [SLASH + 'work/main', 'see ' + SLASH + 'home/somebody/x', 'npm.' + 'pkg.dev', 'registry.' + 'corp.internal',
               'Co-Authored-' + 'By: x', 'fixes ' + '#12', 'in the next ' + 'issue', 'generated ' + 'by AI']
        for line in bad:
            with self.subTest(line):
                self.write('docs/b.md', line + '\n')
                self.refuses('words', 'docs/b.md:1')
        self.write('docs/b.md', 'https://registry.' + 'npmjs.org/ $(CURDIR)/.work/x an agent, a session, /workspace, ~/home/x\n')
        self.passes('words')

    def test_words_lockfile(self):
        lock = '{"packages": {"node_modules/x": {"resolved": "https://%s/x.tgz"}}}\n'
        self.write('package-lock.json', lock % ('registry.' + 'npmjs.org'))
        self.passes('words')
        self.write('package-lock.json', lock % ('packages.' + 'example.org'))
        self.refuses('words', 'package-lock.json:1', 'another registry')

    # check-links

    def test_links(self):
        for link, word in (('[x](none.md)', 'no such file'), ('[x](b.md#none)', 'no heading'), ('![x](../../p.png)', 'out of'),
                           ('[x](#none)', 'no heading'), ('[x]: none.md', 'no such file')):
            with self.subTest(link):
                self.write('docs/a.md', f'# T\n\n{link}\n')
                self.refuses('links', 'docs/a.md:3', word)

    def test_links_in_code_pass(self):
        self.write('docs/a.md', '`[x](none.md)`\n\n```\n[x](none.md)\n```\n<https://example.org> [x](https://example.org/y)\n')
        self.passes('links')

    # check-build

    def test_beside_the_build(self):
        self.write('src/io/lost.c', SPDX)
        self.refuses('build', 'src/io/lost.c:1', 'meson.build')

    def test_seeds(self):
        self.write('tests/fuzz/meson.build', "fuzz_targets = {\n  'x': [],\n}\n")
        self.write('tests/fuzz/fuzz_x.c', SPDX)
        self.refuses('build', 'tests/fuzz/fuzz_x.c:1', '0 seeds')
        for seed in 'abc':
            self.write('tests/fuzz/corpus/x/' + seed, seed)
        self.passes('build')


if __name__ == '__main__':
    sys.dont_write_bytecode = True
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The runner of make check: states, reasons, exit status, leftovers, time limits and interrupts, on parts made up here."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

TOOLS = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..', 'tools'))
# A process that leaves its parent, its group and its session, and says its pid.
RUNAWAY = 'setsid sh -c \'echo $$ >pid; exec sleep 300\' & while ! [ -s pid ]; do :; done'


class Runner(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix='pinfold-check-')
        self.addCleanup(shutil.rmtree, self.root)
        os.makedirs(os.path.join(self.root, 'tools'))

    def start(self, parts):
        """parts: (name, needs, seconds, shell text)"""
        with open(os.path.join(TOOLS, 'check'), encoding='utf-8') as f:
            source = f.read()
        table = [(name, needs, seconds, ['sh', '-c', text]) for name, needs, seconds, text in parts]
        source, n = re.subn(r'^PARTS = \[\n.*?^\]\n', lambda m: f'PARTS = {table!r}\n', source, flags=re.M | re.S)
        self.assertEqual(n, 1)
        path = os.path.join(self.root, 'tools', 'check')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(source)
        return subprocess.Popen(['python3', '-B', path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run_parts(self, *parts):
        with self.start(parts) as child:
            out = child.communicate(timeout=60)[0]
        return child.returncode, out, out.split('\nsummary\n')[1]

    def assert_gone(self):
        with open(os.path.join(self.root, 'pid'), encoding='utf-8') as f:
            self.assertFalse(os.path.exists(f'/proc/{f.read().strip()}'))

    def test_all_ok(self):
        code, _, table = self.run_parts(('a', [], 9, 'true'), ('b', ['a'], 9, 'true'))
        self.assertEqual(code, 0)
        self.assertIn('2 ok, 0 FAILED, 0 not run', table)

    def test_failure_shows_its_log_and_stops_what_needs_it(self):
        code, out, table = self.run_parts(('a', [], 9, 'echo the reason; exit 7'), ('b', ['a'], 9, 'true'), ('c', [], 9, 'true'))
        self.assertEqual(code, 1)
        self.assertIn('the reason', out)
        self.assertRegex(table, r'a +FAILED +.*exit 7')
        self.assertRegex(table, r'b +not run +.*a is not ok')
        self.assertRegex(table, r'c +ok')

    def test_what_is_not_there_says_why(self):
        code, _, table = self.run_parts(('a', [], 9, 'echo noise; echo no tests yet; exit 3'))
        self.assertEqual(code, 0)
        self.assertRegex(table, r'a +not run +.*no tests yet')

    def test_skipped_tests_are_named(self):
        _, out, _ = self.run_parts(('a', [], 9, 'echo "ok 1 - x # SKIP no cgroup"; echo "ok 2 - y # SKIP test name does not match pattern"'))
        self.assertIn('skipped: ok 1 - x # SKIP no cgroup', out)
        self.assertNotIn('ok 2', out)

    def test_leftovers_fail_a_part_and_are_killed(self):
        code, _, table = self.run_parts(('a', [], 9, RUNAWAY))
        self.assertEqual(code, 1)
        self.assertRegex(table, r'a +FAILED +.*left processes behind: sleep 300')
        self.assert_gone()

    def test_orphans_are_taken_in_while_a_part_runs(self):
        gone = '(sh -c "exit 0" & echo $! >pid); while kill -0 $(cat pid) 2>/dev/null; do sleep 0.01; done'
        code, _, table = self.run_parts(('a', [], 9, gone))
        self.assertEqual(code, 0, table)

    def test_time_limit(self):
        code, _, table = self.run_parts(('a', [], 1, RUNAWAY + '; sleep 300'))
        self.assertEqual(code, 1)
        self.assertRegex(table, r'a +FAILED +.*more than 1 s')
        self.assert_gone()

    def test_interrupt_ends_everything(self):
        with self.start([('a', [], 99, RUNAWAY + '; echo up >up; sleep 300'), ('b', [], 9, 'true')]) as child:
            while not os.path.exists(os.path.join(self.root, 'up')):
                self.assertIsNone(child.poll())
            child.send_signal(signal.SIGINT)
            out = child.communicate(timeout=60)[0]
        self.assertEqual(child.returncode, 130)
        self.assertRegex(out, r'b +not run +.*interrupted')
        self.assert_gone()

    def test_two_at_once(self):
        with self.start([('a', [], 99, 'echo up >up; sleep 300')]) as first:
            while not os.path.exists(os.path.join(self.root, 'up')):
                self.assertIsNone(first.poll())
            second = subprocess.run(['python3', '-B', os.path.join(self.root, 'tools', 'check')], check=False,
                                    capture_output=True, text=True)
            first.send_signal(signal.SIGTERM)
            first.communicate(timeout=60)
        self.assertEqual(second.returncode, 1)
        self.assertIn('another one runs', second.stderr)


if __name__ == '__main__':
    unittest.main()

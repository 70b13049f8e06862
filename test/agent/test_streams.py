import unittest

from client import AgentCase


class OutputTest(AgentCase):
    def test_output_keeps_its_order_among_python_c_and_children(self):
        code = '''
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
for i in range(20):
    print('p', end='')
    os.system('printf s')
    libc.printf(b'c')
    subprocess.run(['printf', 'b'])
    os.write(1, b'w')
    sys.stdout.buffer.write(b'u\\n')'''
        self.assertEqual(self.run_code(code).text(), 'pscbwu\n' * 20)

    def test_any_text_can_be_printed(self):
        self.assertEqual(self.run_code('print("é😀\\ud800\\0\\x1b[1m")').text(), 'é😀\\ud800\0\x1b[1m\n')

    def test_bytes_that_are_not_utf8_become_replacement_characters(self):
        result = self.run_code('import os; os.write(1, b"a\\xffb\\xe2\\x82")')
        self.assertEqual(result.text(), 'a\ufffdb\ufffd')
        self.assertEqual(self.run_code('import os; os.write(1, b"\\xac!")').text(), '\ufffd!')

    def test_standard_error_is_apart(self):
        result = self.run_code('import sys; print("o"); print("e", file=sys.stderr)')
        self.assertEqual((result.text(), result.text('stderr')), ('o\n', 'e\n'))

    def test_replaced_streams_come_back(self):
        self.run_code('import sys, io; sys.stdout = io.StringIO(); sys.stderr.close(); sys.stdin = None; input = None; del input')
        result = self.run_code('print("o"); print("e", file=sys.stderr)')
        self.assertEqual((result.text(), result.text('stderr')), ('o\n', 'e\n'))

    def test_two_hundred_megabytes(self):
        execution = self.start('s = "x" * (1 << 20)\nfor i in range(200): print(s)')
        total = 0
        while True:
            event = self.connection.receive()
            if event['type'] != 'stream':
                break
            total += len(event['text'])
        self.assertEqual((event['type'], event['id'], total), ('execute_reply', execution, 200 * ((1 << 20) + 1)))

    def test_many_small_prints_arrive_in_few_events(self):
        result = self.run_code('for i in range(50000): print(i)')
        self.assertEqual(result.text(), ''.join(f'{i}\n' for i in range(50000)))
        self.assertLess(len(result.events), 2000)

    def test_output_while_nothing_runs_belongs_to_nobody(self):
        self.run_code('import os, threading\nos.mkfifo("gate")\ndef f():\n    open("gate").read()\n    print("late")\nthreading.Thread(target=f).start()')
        open(self.folder / 'home' / 'gate', 'w').close()
        event = self.of_type('stream')[-1]
        self.assertIsNone(event['id'])


class InputTest(AgentCase):
    def answer(self, execution, text):
        return self.request('input', {'execution': execution, 'text': text}, wait=False)

    def ask(self, code):
        execution = self.start(code)
        return execution, self.of_type('input_request')[-1]

    def test_input(self):
        execution, request = self.ask('print("before"); x = input("Name? "); x')
        self.assertEqual((request['prompt'], request['password'], request['id']), ('Name? ', False, execution))
        self.answer(execution, 'Bob')
        result = self.finish(execution)
        self.assertEqual((result.value, result.text()), ("'Bob'", ''))

    def test_password_and_stdin(self):
        execution, request = self.ask('import getpass; getpass.getpass("Secret: ")')
        self.assertEqual((request['prompt'], request['password']), ('Secret: ', True))
        self.answer(execution, 'x')
        self.assertEqual(self.finish(execution).value, "'x'")
        for expression, value in [('sys.stdin.readline()', "'y\\n'"), ('next(iter(sys.stdin))', "'y\\n'"), ('sys.stdin.buffer.readline()', "b'y\\n'")]:
            execution, request = self.ask(f'import sys; {expression}')
            self.assertEqual(request['prompt'], '')
            self.answer(execution, 'y')
            self.assertEqual(self.finish(execution).value, value)

    def lines(self, code, *answers):
        execution, _ = self.ask(code)
        for at, text in enumerate(answers):
            if at > 0:
                self.of_type('input_request')
            self.answer(execution, text)
        return self.finish(execution).value

    def test_standard_input_is_read_to_its_end(self):
        self.assertEqual(self.lines('import sys; list(map(int, sys.stdin.read().split()))', '1 2', '3', '\x04'), '[1, 2, 3]')
        self.assertEqual(self.lines('sys.stdin.reconfigure(newline=None); sys.stdin.readlines()', 'a', 'b\x04'), "['a\\n', 'b']")

    def test_whatever_reads_descriptor_0_is_given_what_somebody_answers(self):
        for code, value in [
            ('import os; os.read(0, 100)', "b'x\\n'"),
            ('open(0, closefd=False).readline()', "'x\\n'"),
            ('import subprocess; subprocess.run(["head", "-n1"], stdout=subprocess.PIPE).stdout', "b'x\\n'"),
            ('import threading; t = threading.Thread(target=lambda: globals().update(y=sys.stdin.readline())); t.start(); t.join(); y', "'x\\n'"),
        ]:
            self.assertEqual(self.lines(f'import sys; {code}', 'x'), value)
        self.assertEqual(self.lines('subprocess.run(["cat"], stdout=subprocess.PIPE).stdout', 'x', 'y\x04'), "b'x\\ny'")

    def test_what_was_printed_comes_before_the_question(self):
        self.start('import os; os.write(1, b"first"); os.read(0, 9)')
        events = self.of_type('input_request')
        self.assertEqual(''.join(event['text'] for event in events if event['type'] == 'stream'), 'first')

    def test_the_end_of_the_input_and_what_nobody_read_end_with_the_execution(self):
        self.assertEqual(self.lines('import os; os.read(0, 1)', 'ab\x04'), "b'a'")
        self.assertEqual(self.lines('os.read(0, 9)', 'c'), "b'c\\n'")

    def test_an_interrupted_reader_asks_no_more(self):
        execution, _ = self.ask('import sys; sys.stdin.readline()')
        self.request('interrupt', {'execution': execution}, wait=False)
        self.assertEqual(self.finish(execution).error['name'], 'KeyboardInterrupt')
        self.assertEqual(self.lines('sys.stdin.readline()', 'x'), "'x\\n'")

    def test_an_answer_that_is_no_text_harms_nobody(self):
        self.assertEqual(self.lines('import sys; sys.stdin.readline()', '\ud800x'), "'?x\\n'")

    def test_end_of_file(self):
        execution, _ = self.ask('input()')
        self.answer(execution, '\x04')
        self.assertEqual(self.finish(execution).error['name'], 'EOFError')

    def test_interrupted_input_does_not_eat_the_next_answer(self):
        execution, _ = self.ask('try: input()\nexcept KeyboardInterrupt: print("caught")\ninput()')
        self.request('interrupt', {'execution': execution}, wait=False)
        self.of_type('input_request')
        self.answer(execution, 'second')
        self.assertEqual(self.finish(execution).value, "'second'")

    def test_input_that_nobody_waits_for(self):
        self.assertEqual(self.request('input', {'execution': 'none', 'text': ''})['code'], 'not-running')

    def test_replaced_stdin_is_read(self):
        self.assertEqual(self.run_code('import sys, io; sys.stdin = io.StringIO("line\\n"); input()').value, "'line'")

    def test_large_answer(self):
        execution, _ = self.ask('len(input())')
        self.answer(execution, 'é' * 1_000_000)
        self.assertEqual(self.finish(execution).value, '1000000')


if __name__ == '__main__':
    unittest.main()

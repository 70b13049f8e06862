import unittest

from client import AgentCase


class ErrorTest(AgentCase):
    def test_traceback_shows_user_code_and_libraries_only(self):
        error = self.run_code('import json\ndef f():\n    return json.loads("{")\nf()').error
        text = ''.join(error['traceback'])
        self.assertTrue(text.startswith('Traceback (most recent call last):\n  File "<execution 1>", line 4, in <module>\n    f()\n'), text)
        self.assertIn('return json.loads("{")', text)
        self.assertIn('json/decoder.py', text)
        self.assertNotIn('<cob>', text)
        self.assertEqual((error['name'], error['before']), ('JSONDecodeError', False))

    def test_chained_exceptions(self):
        text = ''.join(self.run_code('try:\n    1/0\nexcept Exception as e:\n    raise KeyError("k") from e').error['traceback'])
        self.assertIn('direct cause', text)
        self.assertIn('ZeroDivisionError', text)

    def test_exception_in_coroutine(self):
        error = self.run_code('import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    1/0\nawait f()').error
        text = ''.join(error['traceback'])
        self.assertTrue(text.startswith('Traceback (most recent call last):\n  File "<execution 1>", line 5'), text)
        self.assertNotIn('run_until_complete', text)

    def test_errors_before_running(self):
        for code, name in [('x = = 1', 'SyntaxError'), ('  x', 'IndentationError'), ('return 1', 'SyntaxError'),
                           ('yield 1', 'SyntaxError'), ('print(1)\n1 +', 'SyntaxError')]:
            result = self.run_code(code)
            self.assertEqual((result.error['name'], result.error['before'], result.text()), (name, True, ''), code)
        self.assertTrue(self.run_code('a\0b').error['before'])
        self.assertTrue(self.run_code('"\ud800"').error['before'])

    def test_absurdly_nested_code_is_an_error(self):
        for code in ['(' * 100_000, '-' * 100_000 + '1', '1' + '+1' * 100_000, 'x' + '.a' * 100_000, '[' * 150 + ']' * 150]:
            self.run_code(code)
        self.assertEqual(self.run_code('1').value, '1')

    def test_runaway_recursion(self):
        self.assertEqual(self.run_code('def f(): f()\nf()').error['name'], 'RecursionError')
        self.assertEqual(self.run_code('x = []\nfor i in range(100000): x = [x]\nx').error['name'], 'RecursionError')

    def test_hostile_exceptions(self):
        for code in [
            'class E(Exception):\n    def __str__(self): raise ValueError\nraise E(1)',
            'class E(BaseException): pass\nraise E(object())',
            'class A:\n    def __str__(self): 1/0\nraise ValueError(A())',
            'class E(Exception):\n    args = property(lambda s: 1/0)\nraise E(1)',
            'class E(Exception):\n    __notes__ = 5\nraise E(1)',
            'class M(type):\n    __qualname__ = property(lambda s: 1/0)\n    __name__ = property(lambda s: 1/0)\nclass E(Exception, metaclass=M): pass\nraise E',
            'raise MemoryError',
            'raise GeneratorExit',
            'raise StopIteration(3)',
        ]:
            result = self.run_code(code)
            self.assertEqual(result.status, 'error', code)
            self.assertTrue(result.error['traceback'], code)

    def test_last_exception_is_kept(self):
        self.run_code('1/0')
        self.assertEqual(self.run_code('import sys; sys.last_type.__name__, sys.last_traceback is not None').value, "('ZeroDivisionError', True)")

    def test_system_exit_leaves_the_session_alive(self):
        for code in ['exit()', 'import sys; sys.exit(0)', 'quit()', 'raise SystemExit']:
            result = self.run_code(code)
            self.assertEqual((result.status, result.error), ('ok', None), code)
        error = self.run_code('import sys; sys.exit(3)').error
        self.assertEqual((error['name'], error['args'], error['traceback']), ('SystemExit', ['3'], ['SystemExit: 3\n']))
        self.assertEqual(self.run_code('print("alive")').text(), 'alive\n')

    def test_keyboard_interrupt_raised_by_code(self):
        self.assertEqual(self.run_code('raise KeyboardInterrupt').status, 'interrupted')


if __name__ == '__main__':
    unittest.main()

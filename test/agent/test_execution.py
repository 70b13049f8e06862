import unittest

from client import AgentCase


class ValueTest(AgentCase):
    def test_last_expression_is_the_value(self):
        result = self.run_code('a = 20\na + 22')
        self.assertEqual((result.value, result.status), ('42', 'ok'))
        self.assertEqual(self.run_code('_ + 1').value, '43')
        self.assertIsNone(self.run_code('None').value)
        self.assertEqual(self.run_code('7;').value, '7')
        self.assertIsNone(self.run_code('').value)

    def test_namespace_looks_like_a_fresh_main_module(self):
        code = 'import sys, os; (__name__, sys.argv, sys.path[0], sys.modules["__main__"].__dict__ is globals(), "__file__" in globals())'
        self.assertEqual(self.run_code(code).value, "('__main__', [''], '', True, False)")
        self.assertNotIn('agent.pyz', self.run_code('import sys; sys.path').value)

    def test_future_imports_persist(self):
        self.run_code('from __future__ import annotations')
        self.assertIsNone(self.run_code('def f(x: nothing_of_this_name): pass').error)

    def test_top_level_await_and_tasks_that_go_on(self):
        self.run_code('import asyncio\nasync def later():\n    await asyncio.sleep(0.01)\n    return "done"')
        self.assertEqual(self.run_code('await later()').value, "'done'")
        self.run_code('task = asyncio.ensure_future(later()); await asyncio.sleep(0)')
        self.assertEqual(self.run_code('await task').value, "'done'")
        self.assertEqual(self.run_code('asyncio.run(later())').value, "'done'")

    def test_pickle_and_multiprocessing_with_functions_of_the_session(self):
        self.run_code('import pickle, multiprocessing\ndef square(x): return x * x\nclass A: pass')
        self.assertEqual(self.run_code('pickle.loads(pickle.dumps(square))(3), type(pickle.loads(pickle.dumps(A()))) is A').value, '(9, True)')
        code = 'with multiprocessing.get_context("fork").Pool(2) as pool: print(pool.map(square, range(4)))'
        self.assertEqual(self.run_code(code).text(), '[0, 1, 4, 9]\n')

    def test_a_child_forked_by_user_code_does_not_speak_for_the_session(self):
        result = self.run_code('import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nelse:\n    display(5)\n    try: input()\n    except EOFError: print("eof")\npid == 0')
        self.assertEqual(result.text(), '5\neof\nTrue\n')
        self.assertEqual(result.value, 'False')
        self.assertEqual(len(result.of('display_data')), 0)
        self.assertEqual(self.run_code('1').value, '1')

    def test_packages_installed_for_the_user_are_found(self):
        self.run_code('import site, os\nos.makedirs(site.getusersitepackages())\nopen(site.getusersitepackages() + "/fresh_package.py", "w").write("x = 1")')
        if self.run_code('site.ENABLE_USER_SITE').value == 'True':
            self.assertEqual(self.run_code('import fresh_package; fresh_package.x').value, '1')

    def test_inspect_shows_source_of_past_executions(self):
        self.run_code('def f():\n    return "here"\n')
        self.assertEqual(self.run_code('import inspect; print(inspect.getsource(f))').text(), 'def f():\n    return "here"\n\n')


class EnvironmentTest(AgentCase):
    def test_configure_reaches_os_environ_and_survives_restart(self):
        reply = self.request('configure', {'environ': {'TZ': 'Asia/Tokyo', 'X': 'é'}})
        self.assertEqual(reply['type'], 'reply')
        code = 'import os, time; os.environ["X"], time.tzname[0]'
        self.assertEqual(self.run_code(code).value, "('é', 'JST')")
        self.assertEqual(self.request('restart')['type'], 'reply')
        self.assertEqual(self.run_code(code).value, "('é', 'JST')")


class DisplayTest(AgentCase):
    def test_rich_representations(self):
        result = self.run_code('''
class Rich:
    def __repr__(self): return 'rich'
    def _repr_html_(self): return '<b>'
    def _repr_png_(self): return b'\\x89PNG'
    def _repr_json_(self): return {'a': float('nan')}
    def _repr_latex_(self): raise ValueError('no')
    def _repr_mimebundle_(self, include=None, exclude=None): return {'text/x': 'y'}, {'m': 1}
Rich()''')
        event = result.of('execute_result')[0]
        self.assertEqual(event['data'], {'text/html': '<b>', 'image/png': 'iVBORw==', 'text/x': 'y', 'text/plain': 'rich'})
        self.assertEqual(event['metadata'], {'m': 1})
        self.assertIn('_repr_latex_ raised ValueError: no', result.text('stderr'))
        self.assertEqual(list(self.run_code('Rich').of('execute_result')[0]['data']), ['text/plain'])
        self.assertEqual(list(self.run_code('import unittest.mock; unittest.mock.MagicMock()').of('execute_result')[0]['data']), ['text/plain'])

    def test_display_keeps_its_place_between_prints(self):
        result = self.run_code('for i in range(20):\n    print(i)\n    display(i)')
        shown = ''.join(event.get('text') or f"[{event['data']['text/plain']}]" for event in result.events[:-1])
        self.assertEqual(shown, ''.join(f'{i}\n[{i}]' for i in range(20)))

    def test_too_large_values_are_cut_with_a_note(self):
        plain = self.run_code('"é" * (9 << 20)').value
        self.assertRegex(plain, r'… cut: \d+ characters$')
        self.assertLess(len(plain), 1 << 20)
        self.assertIn('image/png of', self.run_code('class P:\n    def _repr_png_(self): return bytes(9 << 20)\nP()').value)
        self.assertEqual(self.run_code('raise ValueError("x" * (20 << 20))').status, 'error')

    def test_values_that_are_too_many_or_too_deep_are_left_out_with_a_note(self):
        code = 'class J:\n    def __init__(self, value): self.value = value\n    def _repr_json_(self): return self.value\n'
        self.run_code(code + 'deep = []\nfor n in range(70): deep = [deep]')
        self.assertIn('application/json of 400001 values', self.run_code('J([0] * 400_000)').value)
        self.assertIn('application/json: nested deeper', self.run_code('J(deep)').text('stderr'))
        event = self.run_code('J([{"a": n} for n in range(10_000)])').of('execute_result')[0]
        self.assertEqual(event['data']['application/json'][-1], {'a': 9999})

    def test_failing_repr_is_an_error_of_the_code(self):
        error = self.run_code('class R:\n    def __repr__(self): raise KeyError(1)\nR()').error
        self.assertEqual((error['name'], error['args']), ('KeyError', ['1']))


if __name__ == '__main__':
    unittest.main()

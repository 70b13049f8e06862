import base64
import subprocess
import unittest

from client import PYTHON, AgentCase

HAS_MATPLOTLIB = subprocess.run([PYTHON, '-c', 'import matplotlib'], capture_output=True).returncode == 0


@unittest.skipUnless(HAS_MATPLOTLIB, 'matplotlib is not installed')
class FigureTest(AgentCase):
    def test_show_displays_and_closes_figures(self):
        result = self.run_code('import matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint("a")\nplt.show()\nprint("b")\nplt.get_fignums()')
        self.assertIsNone(result.error)
        before = result.events.index(result.of('display_data')[0])
        texts = [[event['text'] for event in part if event.get('name') == 'stdout'] for part in (result.events[:before], result.events[before:])]
        self.assertEqual([''.join(part) for part in texts], ['a\n', 'b\n'])
        data = result.of('display_data')[0]['data']
        self.assertTrue(base64.b64decode(data['image/png']).startswith(b'\x89PNG'))
        self.assertRegex(data['text/plain'], '^<Figure|^Figure')
        self.assertEqual(result.value, '[]')

    def test_figures_left_open_are_displayed_at_the_end_in_the_chosen_format(self):
        code = 'import matplotlib, matplotlib.pyplot as plt\nmatplotlib.rcParams["savefig.format"] = "svg"\nplt.plot([1])\nplt.figure()\nplt.plot([2]);'
        result = self.run_code(code)
        self.assertEqual([list(event['data']) for event in result.of('display_data')], [['image/svg+xml', 'text/plain']] * 2)
        self.assertIn('<svg', result.of('display_data')[0]['data']['image/svg+xml'])
        self.assertEqual(self.run_code('plt.get_fignums()').value, '[]')
        self.assertEqual(self.run_code('plt.plot([1]); 1/0').status, 'error')

    def test_programs_started_by_code_use_a_backend_they_can_import(self):
        result = self.run_code('import matplotlib.pyplot, subprocess, sys\nsubprocess.run([sys.executable, "-c", "import matplotlib.pyplot as p; p.plot([1]); print(1)"]).returncode')
        self.assertEqual(result.value, '0')


if __name__ == '__main__':
    unittest.main()

import os
import signal
import unittest
from pathlib import Path

from client import FORK, AgentCase


def rss_kb(pid):
    for line in Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmRSS'):
            return int(line.split()[1])


class RequestTest(AgentCase):
    def test_ping_unknown_and_busy(self):
        self.assertEqual(self.request('ping')['result'], {})
        self.assertEqual(self.request('fly')['code'], 'unknown-method')
        execution = self.start('input()')
        self.of_type('input_request')
        self.assertEqual(self.request('execute', {'code': '1'})['code'], 'busy')
        self.assertEqual(self.request('interrupt', {'execution': 'other'})['code'], 'not-running')
        self.request('interrupt', {'execution': execution}, wait=False)
        self.assertEqual(self.finish(execution).status, 'interrupted')
        self.assertEqual(self.request('interrupt', {'execution': execution})['code'], 'not-running')

    def test_malformed_requests_end_the_connection_and_nothing_else(self):
        for bad in [b'\xff\xff\xff\xff', b'\0\0\0\0', b'\0\0\0\2\0{', b'\0\0\0\3\0[]', b'\0\0\0\2\7x',
                    b'\0\0\0\x19\0{"method":5,"params":{} }']:
            connection = self.connect(after=10**9)
            connection.socket.sendall(bad)
            while (message := connection.receive()) is not None:
                self.assertIn('type', message)
            connection.close()
        self.connection = self.connect(after=10**9)
        self.assertEqual(self.run_code('1').value, '1')


class InterruptTest(AgentCase):
    def interrupted(self, code):
        """Runs `code`, which says when to, and interrupts it."""
        execution = self.start(code)
        self.of_type('stream')
        # As a user would, once more where the first had no effect: system() loses one that lands while it forks.
        for _ in range(5):
            self.request('interrupt', {'execution': execution}, wait=False)
            try:
                return self.finish(execution, timeout=3)
            except TimeoutError:
                pass
        self.fail('not to be interrupted')

    def test_what_can_be_interrupted(self):
        imports = 'import asyncio, os, subprocess, threading, time\nclass R:\n  def __repr__(self):\n    while True: pass\nasync def f():\n  while True: pass'
        self.run_code(imports)
        for code in ['while True: pass', 'time.sleep(1000)', 'await asyncio.sleep(1000)', 'input()', 'R()', 'await f()',
                     'subprocess.run(["sleep", "1000"])', 'os.system("echo; sleep 1000"); raise KeyboardInterrupt',
                     'threading.Event().wait()']:
            said = '' if 'echo' in code else 'print("go")\n'
            result = self.interrupted(said + code)
            self.assertEqual((result.status, result.error['name']), ('interrupted', 'KeyboardInterrupt'), code)
            self.assertNotIn('<cob>', ''.join(result.error['traceback']))
        self.assertEqual(self.run_code('1').value, '1')

    def test_interrupted_coroutine_cleans_up(self):
        result = self.interrupted('import asyncio\ntry:\n    print("go", end="")\n    await asyncio.sleep(1000)\nfinally: print("cleaned")')
        self.assertEqual((result.text(), result.status), ('cleaned\n', 'interrupted'))

    def test_interrupts_during_a_flood_of_displays_break_no_frame(self):
        for _ in range(20):
            execution = self.start('while True: display("x" * 1000)')
            self.of_type('display_data')
            self.request('interrupt', {'execution': execution}, wait=False)
            self.assertEqual(self.finish(execution).status, 'interrupted')

    def test_stray_signals_between_executions_do_nothing(self):
        evaluator = self.children()[0]
        for _ in range(50):
            os.kill(evaluator, signal.SIGINT)
            self.assertEqual(self.run_code('1').reply['type'], 'execute_reply')
        self.assertEqual(self.children(), [evaluator])


class RestartTest(AgentCase):
    def test_restart_kills_everything_and_keeps_files(self):
        code = '''
import os, subprocess
open('kept', 'w').write('x')
pids = [subprocess.Popen(['setsid', 'sleep', '1000']).pid]
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(write, b'%d' % os.getpid())
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True: signal.pause()
    os._exit(0)
print(pids[0], os.read(read, 20).decode(), os.getpid())'''
        pids = [int(pid) for pid in self.run_code(code).text().split()]
        self.assertEqual(self.request('restart')['type'], 'reply')
        for pid in pids:
            self.assertFalse(Path(f'/proc/{pid}').exists())
        self.assertEqual(self.run_code('import os; os.path.exists("kept"), "pids" in globals()').value, '(True, False)')

    def test_restart_during_an_execution_passes_on_its_output(self):
        execution = self.start('print("last words", end="", flush=True)\nwhile True: pass')
        self.of_type('stream')
        request = self.request('restart', wait=False)
        events = self.until(lambda event: event['id'] == request)
        self.assertNotIn('dead', [event.get('state') for event in events])
        self.assertNotIn(execution, [event['id'] for event in events if event['type'] == 'execute_reply'])
        self.assertEqual(self.run_code('1').value, '1')


class RehearsalTest(AgentCase):
    def faults(self):
        """Pages that the agent got so far, those among them of which it had to make its own copy (proc_pid_stat(5), minflt)."""
        return int(Path(f'/proc/{self.process.pid}/stat').read_text().rpartition(') ')[2].split()[7])

    def test_the_first_execution_finds_its_memory_ready(self):
        for _ in range(2):
            before = self.faults()
            self.assertEqual(self.run_code('1 + 1').value, '2')
            self.assertLess(self.faults() - before, 20)
            self.request('restart')


class DeathTest(AgentCase):
    def test_death_is_told_after_the_last_output(self):
        result = self.run_code('import os; print("bye"); display(1); print("now"); os._exit(7)')
        self.assertEqual((result.text(), result.reply['state'], result.reply['exit'], result.reply['signal']), ('bye\nnow\n', 'dead', 7, None))
        self.assertEqual(self.request('execute', {'code': '1'})['code'], 'dead')
        self.assertEqual(self.request('configure', {'environ': {'A': 'b'}})['code'], 'dead')
        self.assertEqual(self.request('restart')['type'], 'reply')
        self.assertEqual(self.run_code('import os; os.environ["A"]').value, "'b'")

    def test_death_by_signal(self):
        result = self.run_code('import os; os.kill(os.getpid(), 9)')
        self.assertEqual((result.reply['exit'], result.reply['signal']), (None, 9))

    def test_closing_every_descriptor_ends_only_this_session(self):
        result = self.run_code('import os; os.closerange(0, 4096)')
        self.assertEqual(result.reply['state'], 'dead')
        self.assertEqual(self.request('restart')['type'], 'reply')
        self.assertEqual(self.run_code('1').value, '1')

    def test_code_that_stops_its_evaluator_can_be_restarted(self):
        self.start('import os, signal; os.kill(os.getpid(), signal.SIGSTOP)')
        self.assertEqual(self.request('restart')['type'], 'reply')

    def test_evaluator_has_only_its_own_descriptors(self):
        links = self.run_code('import os; sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1]').value
        self.assertEqual(links, '[0, 1, 2, 3]')
        self.assertEqual(self.run_code('import os; os.system("ls /proc/self/fd | wc -l")').text(), '4\n')

    def test_evaluator_goes_first_when_memory_runs_out(self):
        self.assertEqual(self.run_code('open("/proc/self/oom_score_adj").read()').value, "'900\\n'")


class StatelessTest(AgentCase):
    evaluator = {**FORK, 'stateless': True}
    MEET_ITS_END = 'import os, time; print("before", flush=True); os.system("sleep 1000 &"); os.kill(os.getpid(), 9)'

    def test_one_that_is_killed_is_replaced_and_only_its_execution_has_ended(self):
        self.assertEqual(self.request('configure', {'environ': {'A': 'b'}})['type'], 'reply')
        for _ in range(3):
            result = self.run_code(self.MEET_ITS_END)
            self.assertEqual((result.status, result.error['name'], result.text()), ('error', 'SIGKILL', 'before\n'))
            self.assertEqual(self.run_code('import os; os.environ["A"]').value, "'b'")
        self.assertEqual(len(self.children()), 1, 'what it started is gone, too')

    def test_one_that_is_killed_while_nothing_runs_is_replaced(self):
        pid = int(self.run_code('import os; os.getpid()').value)
        os.kill(pid, signal.SIGKILL)
        self.of_type('status')
        self.assertNotEqual(int(self.run_code('import os; os.getpid()').value), pid)

    def test_one_that_ends_otherwise_is_dead(self):
        self.assertEqual(self.run_code('import os; os._exit(3)').reply['exit'], 3)


class ForgeryTest(AgentCase):
    PRELUDE = '''
import json, socket
def forge(payload, kind=0):
    payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    raw((len(payload) + 1).to_bytes(4, 'big') + bytes([kind]) + payload)
def raw(data):
    s = socket.socket(fileno=os.dup(3)); s.sendall(data)
import os
'''

    def test_forged_events_of_other_executions_are_dropped(self):
        result = self.run_code(self.PRELUDE + '''
forge({'type': 'execute_reply', 'id': 'r999', 'status': 'ok', 'durationMs': 1})
forge({'type': 'execute_reply', 'id': None, 'status': 'ok', 'durationMs': 1})
forge({'type': 'stream', 'id': 'r0', 'name': 'stdout', 'text': 'forged'})
forge({'type': 'status', 'id': None, 'state': 'dead'})
forge({'type': 'fail', 'id': 'r1', 'code': 'x', 'message': 'y'})
forge({'type': 'attached', 'id': 'r1'})
forge({'type': 'ready'})
forge({'type': 'reply', 'id': 'r1'})
forge(b'12345678', kind=1)
print('real')''')
        self.assertEqual({event['type'] for event in result.events}, {'stream', 'execute_reply'})
        self.assertEqual(result.text(), 'real\n')

    def test_forged_end_of_the_own_execution_ends_it_once(self):
        execution = self.start(self.PRELUDE + 'forge({"type": "execute_reply", "id": "r1", "status": "ok", "durationMs": 1})')
        self.assertEqual(execution, 'r1')
        self.finish(execution)
        self.assertEqual(self.run_code('1').value, '1')

    def test_malformed_frames_kill_the_evaluator(self):
        for statement in [
            "raw(b'\\xff' * 10)", "raw(bytes(4))", "forge(b'{')", "forge(b'[]')", "forge(b'\\xff\\xfe')",
            "forge(b'[' * 100000 + b']' * 100000)", "forge({'type': 'stream', 'id': 5, 'name': 'stdout', 'text': ''})",
            "forge({'type': 'stream', 'id': None, 'name': 'x', 'text': ''})", "forge({'type': 5})",
            "forge({'type': 'error', 'name': 'E', 'args': [1], 'traceback': [], 'before': False})",
            "forge({'type': 'execute_reply', 'id': 'r', 'status': 'ok', 'durationMs': -1})",
            "forge(b'{\"type\":\"display_data\",\"id\":null,\"data\":{\"a\":NaN},\"metadata\":{}}')",
            "forge(b'{\"type\":\"display_data\",\"id\":\"MINE\",\"data\":{\"a\":1e999},\"metadata\":{}}')",
            "forge({'type': 'display_data', 'data': {'x' * 1000: ''}, 'metadata': {}})", "raw(b'x')",
        ]:
            # A frame cut short is found out by the genuine one after it, the others at once.
            wait = '' if statement == "raw(b'x')" else 'os.read(os.pipe()[0], 1)'
            result = self.run_code(f'{self.PRELUDE}{statement.replace("MINE", f"r{self._ids + 1}")}\n{wait}')
            self.assertEqual(result.reply.get('state'), 'dead', statement)
            self.assertEqual(self.request('restart')['type'], 'reply')

    def test_asking_for_answers_without_reading_them_does_not_grow_the_agent(self):
        before = rss_kb(self.process.pid)
        execution = self.start(self.PRELUDE + '''
print('go', flush=True)
frame = json.dumps({'type': 'display_data', 'id': None, 'data': {}, 'metadata': {}, 'sync': True}).encode()
frame = (len(frame) + 1).to_bytes(4, 'big') + bytes(1) + frame
while True: raw(frame * 100)''')
        self.of_type('stream')
        for _ in range(200):
            self.request('ping')
        self.assertLess(rss_kb(self.process.pid) - before, 8192)
        self.assertEqual(self.request('restart')['type'], 'reply')


class ReconnectTest(AgentCase):
    def test_nothing_is_lost_or_doubled(self):
        execution = self.start('for i in range(60000): print(i)')
        events, seen = [], 1
        while True:
            self.connection.acknowledging = False
            for _ in range(5):
                event = self.connection.receive()
                self.assertEqual(event['seq'], seen + 1)
                seen = event['seq']
                events.append(event)
                if event['type'] == 'execute_reply':
                    break
            if events[-1]['type'] == 'execute_reply':
                break
            if len(events) % 2:  # sometimes the old connection is still open when the new one comes
                self.connection.close()
            self.connection = self.connect(after=seen)
        self.assertEqual(''.join(event.get('text', '') for event in events), ''.join(f'{i}\n' for i in range(60000)))

    def test_attached_tells_the_state(self):
        execution = self.start('input()')
        self.of_type('input_request')
        self.connection = self.connect(after=0)
        self.assertEqual((self.attached['state'], self.attached['execution'], self.attached['protocol']), ('ready', execution, 1))


class WindowTest(AgentCase):
    def test_a_server_that_stops_reading_stops_the_writer(self):
        self.connection.acknowledging = False
        self.run_code('import os')
        before = rss_kb(self.process.pid)
        execution = self.start('''
for i in range(4000): os.write(1, b'x' * 10000)''')
        total, last = 0, 0
        while total < 900_000:
            event = self.connection.receive()
            total, last = total + len(event.get('text', '')), event['seq']
        # The window is full: the writer makes no progress however often the agent is asked.
        for _ in range(50):
            last = self.request('ping')['seq']
        stopped = self._bytes_written()
        for _ in range(50):
            self.request('ping')
        self.assertEqual(self._bytes_written(), stopped)
        self.assertLess(rss_kb(self.process.pid) - before, 6 * 1024)
        self.connection.acknowledging = True
        self.connection.send({'method': 'ack', 'params': {'seq': last}})
        result = self.finish(execution)
        self.assertEqual(result.status, 'ok')

    def _bytes_written(self):
        text = Path(f'/proc/{self.children()[0]}/io').read_text()
        return [line for line in text.splitlines() if line.startswith('wchar')]


class ProgramTest(AgentCase):
    evaluator = {'start': 'exec', 'argv': ['/usr/bin/python3', '{lang}/echo_evaluator.py']}

    def test_an_evaluator_started_as_a_program(self):
        self.request('configure', {'environ': {'GREETING': 'hello'}})
        result = self.run_code('some code')
        self.assertEqual((result.text(), result.status), ('some code hello\n', 'ok'))
        self.assertEqual({event['type'] for event in result.events}, {'stream', 'execute_reply'})
        self.assertEqual(self.request('restart')['type'], 'reply')
        self.assertEqual(self.run_code('again').text(), 'again hello\n')


if __name__ == '__main__':
    unittest.main()

"""What a server finds that comes after another one was killed."""

import unittest

from client import AgentCase

TAIL_BYTES = 1024 * 1024


class Adoption(AgentCase):
    def another_server(self, after=0):
        """Takes the place of the server there was, and reads what the agent still has."""
        self.connection.close()
        self.connection = self.connect(after)
        self.connection.acknowledging = False
        return [self.connection.receive() for _ in range(self.attached['first'], self.attached['next'])]

    def test_acknowledged_events_are_there_again_with_the_same_numbers(self):
        before = self.run_code('for i in range(3): print(i)\ni').events
        kept = self.another_server()
        self.assertEqual(self.attached['first'], 1)
        self.assertEqual([event for event in kept if event['id'] == before[0]['id']], before)
        self.assertEqual(self.run_code('i + 1').value, '3')

    def test_of_much_output_the_last_megabyte_is_kept_and_what_is_gone_is_counted(self):
        execution = self.start("import sys\nfor i in range(3000): print(str(i).ljust(1000)); sys.stdout.flush()")
        before = self.finish(execution).events
        kept = [event for event in self.another_server() if event['id'] == execution]
        self.assertGreater(sum(len(event.get('text', '')) for event in kept), TAIL_BYTES // 2)
        self.assertLess(sum(len(event.get('text', '')) for event in kept), TAIL_BYTES)
        self.assertEqual(self.attached['cut'], {'id': execution, 'count': len(before) - len(kept)})
        self.assertEqual(kept, before[-len(kept):])

    def test_the_window_is_as_wide_as_without_what_is_kept(self):
        self.run_code("for i in range(200): print('x' * 10000)")
        self.connection.acknowledging = False
        execution = self.start("for i in range(2000): print('y' * 10000)")
        size = 0
        while True:
            try:
                size += len(self.connection.receive(timeout=1).get('text', ''))
            except TimeoutError:
                break
        self.assertGreater(size, TAIL_BYTES - 100_000)
        self.assertLess(size, 2 * TAIL_BYTES)
        self.request('interrupt', {'execution': execution}, wait=False)
        self.connection.acknowledging = True
        self.connection.send({'method': 'ack', 'params': {'seq': 10 ** 9}})
        self.assertEqual(self.finish(execution).status, 'interrupted')

    def test_it_says_what_runs_what_was_last_and_whether_it_asks(self):
        self.assertIsNone(self.attached['last'])
        asking = self.start("input('? ')")
        self.of_type('input_request')
        self.another_server()
        said = {name: self.attached[name] for name in ('execution', 'last', 'asking', 'cut')}
        self.assertEqual(said, {'execution': asking, 'last': asking, 'asking': True, 'cut': None})
        self.request('input', {'execution': asking, 'text': 'x'}, wait=False)
        self.finish(asking)
        self.another_server()
        said = {name: self.attached[name] for name in ('execution', 'last', 'asking')}
        self.assertEqual(said, {'execution': None, 'last': asking, 'asking': False})
        self.assertGreaterEqual(self.attached['quietMs'], 0)

    def test_what_a_killed_server_sent_is_obeyed_however_soon_another_comes(self):
        # More than is read at once, so that some of it waits while the new connection is taken.
        code = f"kept = {'y' * 150_000!r}"
        for _ in range(20):
            execution = self.start(code)
            self.another_server()
            self.assertEqual(self.attached['last'], execution)
            if self.attached['execution'] is not None:
                self.finish(execution)
        self.assertEqual(self.run_code('len(kept)').value, '150000')


if __name__ == '__main__':
    unittest.main()

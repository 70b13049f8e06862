"""Files through the agent: what may be reached, and what becomes of unfinished work."""

import io
import os
import socket
import tarfile
import unittest

from client import AgentCase, Connection


class FileConnection(Connection):
    """A connection that carries files."""

    def ask(self, method, **params):
        """(bytes that came first, reply or fail)"""
        self.send({'id': 'f', 'method': method, 'params': params})
        return self.answer()

    def answer(self):
        data = b''
        while True:
            frame = self.frame()
            if frame is None:
                return data, None
            kind, payload = frame
            if kind == 0:
                return data, payload
            data += payload

    def put(self, data):
        self.socket.sendall((len(data) + 5).to_bytes(4, 'big') + b'\1\0\0\0\0' + data)


class FilesTest(AgentCase):
    def setUp(self):
        super().setUp()
        self.home = self.folder / 'home'
        self.files = FileConnection(self.socket_path)
        self.addCleanup(self.files.close)

    def ask(self, method, **params):
        return self.files.ask(method, **params)[1]

    def test_a_file_is_written_whole_and_read_in_parts(self):
        self.assertEqual(self.ask('write', path=['a', 'b'], room=100)['type'], 'reply')
        self.files.put(b'hello ')
        self.files.put(b'world')
        self.assertEqual(os.listdir(self.home / 'a')[0][:12], '.cob-upload-')
        self.assertEqual(self.ask('commit')['result'], {'created': True, 'size': 11})
        self.assertEqual((self.home / 'a' / 'b').read_bytes(), b'hello world')
        self.assertEqual(self.ask('open', path=['a', 'b'])['result']['size'], 11)
        self.assertEqual(self.files.ask('read', offset=6, length=5), (b'world', {'type': 'reply', 'id': 'f', 'result': {}}))

    def test_an_unfinished_file_vanishes_with_its_connection(self):
        self.ask('write', path=['x'], room=100)
        self.files.put(b'half')
        self.files.close()
        self.request('ping')
        while os.listdir(self.home):
            self.request('ping')

    def test_more_than_there_is_room_for_is_refused(self):
        self.ask('write', path=['x'], room=10)
        self.files.put(b'x' * 11)
        refusal = self.files.answer()[1]
        self.assertEqual((refusal['code'], refusal['details']), ('no-space', {'free': 10}))
        self.assertEqual(os.listdir(self.home), [])

    def test_an_overwritten_file_keeps_its_permissions(self):
        (self.home / 'script').write_text('old')
        (self.home / 'script').chmod(0o755)
        self.ask('write', path=['script'], room=100)
        self.assertEqual(self.ask('commit')['result'], {'created': False, 'size': 0})
        self.assertEqual((self.home / 'script').stat().st_mode & 0o777, 0o755)

    def test_names_that_lead_away_are_refused(self):
        for path in (['..'], ['a', '..', '..', 'x'], ['.'], [''], ['a/b'], ['/etc/passwd'], ['a\0b'], ['x'] * 200):
            for method in ('open', 'write', 'remove'):
                refusal = self.ask(method, path=path, **({'room': 1} if method == 'write' else {}))
                self.assertIn(refusal['code'], ('refused', 'not-found'), (method, path))
        self.assertEqual(self.ask('open', path=['x' * 300])['code'], 'refused')

    def test_links_are_not_followed_anywhere(self):
        (self.folder / 'outside').mkdir()
        (self.folder / 'outside' / 'secret').write_text('secret')
        os.symlink(self.folder / 'outside', self.home / 'link')
        os.symlink('/etc/passwd', self.home / 'file-link')
        for path in (['link'], ['link', 'secret'], ['file-link']):
            self.assertEqual(self.ask('open', path=path)['code'], 'refused', path)
        for path in (['link'], ['link', 'new'], ['file-link']):
            self.assertEqual(self.ask('write', path=path, room=1)['code'], 'refused', path)
        self.assertEqual(self.ask('remove', path=['link', 'secret'])['code'], 'refused')
        self.assertEqual(self.ask('remove', path=['link'])['type'], 'reply')
        self.assertEqual(os.listdir(self.folder / 'outside'), ['secret'])

    def test_what_is_no_file_is_refused_at_once(self):
        os.mkfifo(self.home / 'fifo')
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(self.home / 'socket'))
        for name in ('fifo', 'socket'):
            self.assertEqual(self.ask('open', path=[name])['code'], 'refused', name)
            self.assertEqual(self.ask('write', path=[name], room=1)['code'], 'refused', name)

    def test_a_listing_tells_sizes_and_kinds(self):
        (self.home / 'b').write_text('123')
        (self.home / 'a').mkdir()
        os.symlink('b', self.home / 'c')
        self.ask('open', path=[])
        entries = self.ask('list')['result']['entries']
        self.assertEqual([entry[:2] for entry in entries], [['a', 'folder'], ['b', 'file'], ['c', 'link']])
        self.assertEqual(entries[1][2], 3)

    def test_an_archive_holds_what_the_folder_holds(self):
        inner = self.home / 'data' / ('long' * 40) / 'ü'
        inner.mkdir(parents=True)
        (inner / 'file').write_bytes(b'x' * 300_000)
        os.symlink('/etc/passwd', inner / 'link')
        os.mkfifo(inner / 'fifo')
        self.ask('open', path=['data'])
        data, reply = self.files.ask('archive')
        self.assertEqual(reply['type'], 'reply')
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = {os.path.basename(member.name): member for member in archive}
            self.assertEqual(archive.extractfile(members['file']).read(), b'x' * 300_000)
            self.assertEqual((members['link'].type, members['link'].linkname), (tarfile.SYMTYPE, '/etc/passwd'))
            self.assertNotIn('fifo', members)

    def test_a_folder_is_removed_with_all_that_is_in_it(self):
        for index in range(1000):
            folder = self.home / 'many' / str(index % 7)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / str(index)).touch()
        self.assertEqual(self.ask('remove', path=['many'])['type'], 'reply')
        self.assertEqual(os.listdir(self.home), [])
        self.assertEqual(self.ask('remove', path=['many'])['code'], 'not-found')
        self.assertEqual(self.ask('remove', path=[])['code'], 'refused')

    def test_code_runs_on_while_a_file_is_not_read(self):
        (self.home / 'large').write_bytes(b'x' * 20_000_000)
        self.ask('open', path=['large'])
        self.files.send({'id': 'f', 'method': 'read', 'params': {'offset': 0, 'length': 20_000_000}})
        self.assertEqual(self.run_code('6 * 7').value, '42')
        data, reply = self.files.answer()
        self.assertEqual((len(data), reply['type']), (20_000_000, 'reply'))

    def test_a_malformed_request_ends_only_its_connection(self):
        self.files.send({'id': 'f', 'method': 'open', 'params': {'path': 'not a list'}})
        self.assertIsNone(self.files.frame())
        self.assertEqual(self.run_code('6 * 7').value, '42')

    def test_files_stay_open_over_a_restart(self):
        self.ask('write', path=['x'], room=100)
        self.files.put(b'be')
        self.request('restart')
        self.files.put(b'fore')
        self.assertEqual(self.ask('commit')['result']['size'], 6)

    def test_an_execution_tells_which_files_it_changed(self):
        first = self.run_code("import os; os.mkdir('d'); open('d/new', 'w').write('123'); open('.hidden', 'w').close()")
        self.assertEqual((first.reply['files'], first.reply['moreFiles']), ([{'path': 'd/new', 'size': 3}], False))
        self.assertEqual(self.run_code('1').reply['files'], [])
        self.ask('write', path=['uploaded'], room=100)
        self.ask('commit')
        self.assertEqual(self.run_code('1').reply['files'], [])
        self.assertEqual(self.run_code("open('uploaded', 'w').write('x')").reply['files'], [{'path': 'uploaded', 'size': 1}])

    def test_many_changed_files_are_not_all_named(self):
        result = self.run_code("[open(str(i), 'w').close() for i in range(500)] and None")
        self.assertEqual((len(result.reply['files']), result.reply['moreFiles']), (200, True))


if __name__ == '__main__':
    unittest.main()

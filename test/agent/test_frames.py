"""The agent's decoder against the cases every decoder of the channel is tested with."""

import json
import subprocess
import sys
import unittest
import zipfile

from client import PYTHON, ROOT, bundle

sys.path.insert(0, str(bundle()))
from cob_agent import frames  # noqa: E402

CASES = json.loads((ROOT / 'test' / 'conformance' / 'frames.json').read_text())['cases']


def to_bytes(parts):
    """The bytes of a `hex` entry: a string, or a list of strings and repetitions."""
    if isinstance(parts, str):
        return bytes.fromhex(parts)
    return b''.join(
        bytes.fromhex(part) if isinstance(part, str) else bytes.fromhex(part['repeat']) * part['times'] for part in parts
    )


def decode(data, step, limit):
    decoder = frames.FrameDecoder(limit)
    found = []
    try:
        for start in range(0, len(data), step):
            decoder.feed(data[start:start + step])
            while (frame := decoder.next()) is not None:
                kind, value = frame
                found.append({'kind': 0, 'json': value} if kind == 0
                             else {'kind': 1, 'stream': value[0], 'hex': value[1].hex()})
    except frames.FrameError:
        return found, True
    return found, False


class ConformanceTest(unittest.TestCase):
    def test_every_case_however_the_stream_is_cut(self):
        for case in CASES:
            data = to_bytes(case['hex'])
            for step in (len(data) or 1, 1, 3) if len(data) < 1000 else (len(data), 4096):
                with self.subTest(case['name'], step=step):
                    found, refused = decode(data, step, case.get('maxFrameBytes', frames.MAX_FRAME_BYTES))
                    if case.get('outcome') == 'any':
                        continue
                    self.assertEqual(found, case['expect'])
                    self.assertEqual(refused, case.get('outcome') == 'error')

    def test_what_is_encoded_is_decoded(self):
        value = {'a': ['é\ud800\0', 1.5, None, True, -(2 ** 53)]}
        self.assertEqual(decode(frames.encode(value), 1, frames.MAX_FRAME_BYTES), ([{'kind': 0, 'json': value}], False))

    def test_what_is_no_json_or_too_large_is_not_encoded(self):
        for value in (float('nan'), float('inf'), {1, 2}, 'x' * frames.MAX_FRAME_BYTES):
            with self.assertRaises(frames.FrameError):
                frames.encode(value)


class BundleTest(unittest.TestCase):
    def test_the_bundle_names_no_folder_of_the_machine_it_was_made_on(self):
        with zipfile.ZipFile(bundle()) as archive:
            for entry in archive.infolist():
                self.assertEqual(entry.compress_type, zipfile.ZIP_STORED)
                self.assertNotIn(str(ROOT).encode(), archive.read(entry))
                self.assertTrue(entry.filename.endswith('.pyc'))

    def test_equal_sources_give_equal_bytes(self):
        other = bundle().with_name('again.pyz')
        subprocess.run([PYTHON, ROOT / 'agent' / 'bundle.py', other, ROOT / 'langs' / 'python3'], check=True)
        self.assertEqual(other.read_bytes(), bundle().read_bytes())


if __name__ == '__main__':
    unittest.main()

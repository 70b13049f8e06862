"""Whatever bytes come, the agent's decoder gives frames or a FrameError, the same however they are cut."""

import json
import os
import random
import sys
import time
import unittest

from client import bundle

sys.path.insert(0, str(bundle()))
from cob_agent import frames  # noqa: E402

SEED = int(os.environ.get('FAST_CHECK_SEED') or time.time_ns() % 2 ** 31)
INPUTS = 10_000
# Of the decoder under test; small, so that frames that are too large are common.
MAX_BYTES = 1024


def frame(payload, kind=0, length=None):
    return (len(payload) + 1 if length is None else length).to_bytes(4, 'big') + bytes([kind]) + payload


def some_value(dice, depth=0):
    choice = dice.randrange(8 if depth < 4 else 5)
    if choice == 0:
        return dice.choice([None, True, False, 2 ** 53, -(2 ** 70), 1e308, -0.0])
    if choice < 5:
        return ''.join(chr(dice.choice([dice.randrange(128), dice.randrange(0xd800, 0xe000), dice.randrange(0x110000)]))
                       for _ in range(dice.randrange(12)))
    if choice < 7:
        return [some_value(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(['__proto__', '', 'a', 'é']): some_value(dice, depth + 1) for _ in range(dice.randrange(3))}


def some_wire(dice):
    valid = dice.choice([
        lambda: frames.encode(some_value(dice)),
        lambda: frame(dice.randbytes(dice.randrange(4, 40)), kind=1),
    ])()
    at, to = dice.randrange(len(valid)), dice.randrange(len(valid))
    return dice.choice([
        valid,
        valid,
        valid,
        dice.randbytes(dice.randrange(40)),
        frame(dice.randbytes(dice.randrange(40))),
        frame(bytes(8), dice.randrange(4), dice.randrange(2 ** 32)),
        frame(b'', 0, dice.choice([0, 1, MAX_BYTES, MAX_BYTES + 1, 2 ** 31, 2 ** 32 - 1])),
        frame(dice.choice([b'[' * 900, b'NaN', b'-Infinity', b'{"a":1', b'\xed\xa0\x80', b'"\xff"', b'1' * 900, b''])),
        valid[:at] + bytes([dice.randrange(256)]) + valid[at + 1:],
        valid[:at] + valid[to:],
    ])


def decode(wire, sizes):
    """The frames, and last what a FrameError said."""
    decoder, found, at, turn = frames.FrameDecoder(MAX_BYTES), [], 0, 0
    try:
        while at < len(wire):
            decoder.feed(wire[at:at + sizes[turn % len(sizes)]])
            at += sizes[turn % len(sizes)]
            turn += 1
            while (one := decoder.next()) is not None:
                found.append(one)
    except frames.FrameError as error:
        found.append(str(error))
    return found


class FuzzTest(unittest.TestCase):
    def test_frames_or_a_frame_error_however_the_stream_is_cut(self):
        dice = random.Random(SEED)
        for number in range(INPUTS):
            wire = b''.join(some_wire(dice) for _ in range(dice.randrange(1, 5)))
            sizes = [dice.randrange(1, 50) for _ in range(dice.randrange(1, 6))]
            whole = decode(wire, [len(wire) + 1])
            # As text: NaN is never equal, and a number too large for a float may be read.
            self.assertEqual(repr(decode(wire, sizes)), repr(whole), f'seed {SEED}, input {number}: {wire!r}')

    def test_what_is_encoded_is_decoded(self):
        dice = random.Random(SEED)
        for number in range(2000):
            value = some_value(dice)
            decoder = frames.FrameDecoder()
            decoder.feed(frames.encode(value))
            self.assertEqual(json.dumps(decoder.next()[1]), json.dumps(value), f'seed {SEED}, input {number}')

    def test_json_nested_100_000_deep_is_refused_and_not_fatal(self):
        for payload in (b'[' * 100_000, b'[' * 100_000 + b']' * 100_000, b'{"a":' * 100_000 + b'1' + b'}' * 100_000):
            decoder = frames.FrameDecoder()
            decoder.feed(frame(payload))
            with self.assertRaises(frames.FrameError):
                decoder.next()

    def test_numbers_of_many_digits_are_refused_or_read_but_not_for_long(self):
        decoder = frames.FrameDecoder()
        decoder.feed(frame(b'1' * (frames.MAX_FRAME_BYTES - 1)))
        began = time.monotonic()
        with self.assertRaises(frames.FrameError):
            decoder.next()
        self.assertLess(time.monotonic() - began, 5)


if __name__ == '__main__':
    unittest.main()

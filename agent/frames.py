"""Frames: a u32 big-endian length, a u8 kind, and a payload. The twin of the protocol package's channel.ts."""

import json

MAX_FRAME_BYTES = 8 * 1024 * 1024
HEADER_BYTES = 4
KIND_JSON = 0
KIND_BYTES = 1


class FrameError(Exception):
    """The other end broke the framing; nothing after it can be trusted."""


def _refuse_constant(name):
    raise ValueError(f'{name} is not JSON')


def _refuse_object(value):
    raise TypeError(f'{type(value).__name__} is not JSON')


# Escaping everything beyond ASCII lets lone surrogates through and makes bytes equal characters.
# One encoder for all messages: JSONEncoder.encode makes one for each, which takes as long as encoding a small message does.
_chunks = json.encoder.c_make_encoder(
    None, _refuse_object, json.encoder.encode_basestring_ascii, None, ':', ',', False, False, False,
)
_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def encode(message):
    """The JSON frame of `message`; FrameError when it is no JSON or too large."""
    try:
        payload = ''.join(_chunks(message, 0)).encode('ascii')
    except (TypeError, ValueError, RecursionError) as problem:
        raise FrameError(f'not JSON: {problem}') from None
    length = len(payload) + 1
    if length > MAX_FRAME_BYTES:
        raise FrameError(f'a frame of {length} bytes; at most {MAX_FRAME_BYTES} are accepted')
    return length.to_bytes(HEADER_BYTES, 'big') + b'\0' + payload


def encode_bytes(data, stream=0):
    """The frame of bytes of one stream."""
    return b''.join(((len(data) + 5).to_bytes(HEADER_BYTES, 'big'), b'\1', stream.to_bytes(4, 'big'), data))


class FrameDecoder:
    """Cuts a byte stream into frames; holds one unfinished frame and what was fed last."""

    def __init__(self, max_frame_bytes=MAX_FRAME_BYTES):
        self._max = max_frame_bytes
        self._buffer = bytearray()

    def feed(self, data):
        self._buffer += data

    def next(self):
        """The next frame as (KIND_JSON, value) or (KIND_BYTES, (stream, bytes)); None when more bytes are needed."""
        buffer = self._buffer
        if len(buffer) < HEADER_BYTES:
            return None
        length = int.from_bytes(buffer[:HEADER_BYTES], 'big')
        if not 1 <= length <= self._max:
            raise FrameError(f'a frame of {length} bytes; 1 to {self._max} are accepted')
        end = HEADER_BYTES + length
        if len(buffer) < end:
            return None
        kind = buffer[HEADER_BYTES]
        payload = bytes(buffer[HEADER_BYTES + 1:end])
        del buffer[:end]
        if kind == KIND_JSON:
            return KIND_JSON, _parse(payload)
        if kind == KIND_BYTES:
            if len(payload) < 4:
                raise FrameError('a bytes frame without a stream id')
            return KIND_BYTES, (int.from_bytes(payload[:4], 'big'), payload[4:])
        raise FrameError(f'a frame of kind {kind}; 0 and 1 are known')


def _parse(payload):
    try:
        text = payload.decode('utf-8').strip(' \t\n\r')
        value, end = _decoder.raw_decode(text)
        if end != len(text):
            raise ValueError('something stands behind it')
        return value
    except (ValueError, RecursionError) as problem:
        raise FrameError(f'not JSON: {problem}') from None

"""Runs a seccomp program as the kernel would (classic BPF, Linux: Documentation/userspace-api/seccomp_filter.rst)."""

import struct

ALLOW = 0x7FFF0000
ERRNO = 0x00050000

_MASK = 0xFFFFFFFF
_JUMPS = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: a & k != 0,
}


def run(program, arch, number, args=()):
    """The verdict of `program` (bytes) on a system call: `arch` is an AUDIT_ARCH_* number, `args` up to 6 of 64 bits."""
    data = struct.pack('<IIQ6Q', number, arch & _MASK, 0, *args, *[0] * (6 - len(args)))
    instructions = list(struct.iter_unpack('<HBBI', program))
    accumulator = at = 0
    while True:
        code, if_true, if_false, value = instructions[at]
        at += 1
        if code == 0x20:  # load a word of seccomp_data
            (accumulator,) = struct.unpack_from('<I', data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            at += value
        elif code in _JUMPS:
            at += if_true if _JUMPS[code](accumulator, value) else if_false
        elif code == 0x06:
            return value
        else:
            raise ValueError(f'instruction {code:#x} is not known here')

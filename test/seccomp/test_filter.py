"""The committed seccomp filters: that the script still makes them, and what they say, on both architectures."""

import errno
import importlib.util
import os
import unittest

import bpf

FOLDER = os.path.join(os.path.dirname(__file__), '../../packages/server/src/backend/local/seccomp')
AUDIT_ARCH = {'x64': 0xC000003E, 'arm64': 0xC00000B7}
# i386 and arm64, 32-bit arm and x86-64.
FOREIGN = {'x64': (0x40000003, 0xC00000B7), 'arm64': (0x40000028, 0xC000003E)}
DENIED = bpf.ERRNO | errno.EPERM
UNKNOWN = bpf.ERRNO | errno.ENOSYS

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK, AF_XDP = 1, 2, 10, 16, 17, 38, 40, 44
NONBLOCK_CLOEXEC = 0o2004000
SIGCHLD = 17

# What programs that behave need; os, threading, asyncio, subprocess and multiprocessing use all of these.
NEEDED = (
    'read write openat close mmap mprotect munmap brk futex execve exit_group wait4 kill tgkill pipe2 dup3 epoll_create1 '
    'epoll_pwait eventfd2 timerfd_create signalfd4 memfd_create getrandom rt_sigaction sched_getaffinity prlimit64 '
    'bind listen accept4 connect sendto recvfrom shmget semget msgget mq_open statx renameat2 linkat symlinkat flock '
    'copy_file_range splice inotify_init1 pidfd_open pidfd_send_signal clock_gettime nanosleep set_robust_list rseq '
    'seccomp landlock_create_ruleset setsid prctl fsync fdatasync'
).split()


def load(node_name):
    with open(os.path.join(FOLDER, f'{node_name}.bpf'), 'rb') as file:
        return file.read()


def load_script():
    spec = importlib.util.spec_from_file_location('build_seccomp', os.path.join(FOLDER, 'build.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Filter(unittest.TestCase):
    """Both architectures in each test; arm64's program is evaluated, not loaded."""

    @classmethod
    def setUpClass(cls):
        cls.script = load_script()
        cls.programs = {name: load(name) for name in AUDIT_ARCH}
        cls.numbers = {
            name: {cls.script.name_of(arch, number): number for number in range(cls.script.LAST_NUMBER)}
            for name, (arch, _) in cls.script.ARCHITECTURES.items()
        }

    def each(self):
        return self.programs.items()

    def verdict(self, name, call, *args):
        return bpf.run(self.programs[name], AUDIT_ARCH[name], self.numbers[name][call], args)

    def test_the_script_still_makes_the_committed_bytes(self):
        for name, architecture in self.script.ARCHITECTURES.items():
            self.assertEqual(self.script.build(*architecture), load(name), f'run build.py: {name}.bpf is not what it makes')

    def test_what_programs_need_is_allowed(self):
        for name, _ in self.each():
            for call in NEEDED:
                self.assertEqual(self.verdict(name, call), bpf.ALLOW, call)
            self.assertEqual(self.verdict(name, 'clone', 0x3D0F00), bpf.ALLOW)  # a thread of glibc
            self.assertEqual(self.verdict(name, 'clone', 0x01200000 | SIGCHLD), bpf.ALLOW)  # fork

    def test_all_that_is_removed_from_the_list_is_denied(self):
        for name, _ in self.each():
            for calls in self.script.REMOVED.values():
                for call in calls.split():
                    if call in self.numbers[name]:
                        self.assertEqual(self.verdict(name, call), DENIED, call)
            self.assertEqual(self.verdict(name, 'clone3'), UNKNOWN)

    def test_what_needs_a_capability_is_denied(self):
        calls = 'acct clock_settime delete_module finit_module init_module kexec_load quotactl settimeofday swapon'
        for name, _ in self.each():
            for call in calls.split():
                self.assertEqual(self.verdict(name, call), DENIED, call)

    def test_no_namespace_by_clone(self):
        for name, _ in self.each():
            for bit in range(32):
                flags = 1 << bit
                expected = DENIED if flags & self.script.NAMESPACE_FLAGS else bpf.ALLOW
                self.assertEqual(self.verdict(name, 'clone', flags | SIGCHLD), expected, hex(flags))

    def test_sockets_are_unix_tcp_and_udp(self):
        stream, datagram, raw, seqpacket = 1, 2, 3, 5
        for name, _ in self.each():
            for family in range(64):
                for kind in (stream, datagram):
                    expected = bpf.ALLOW if family in (AF_UNIX, AF_INET, AF_INET6) else DENIED
                    if family == AF_NETLINK:
                        expected = bpf.ERRNO | errno.EOPNOTSUPP  # ZeroMQ aborts at EPERM
                    self.assertEqual(self.verdict(name, 'socket', family, kind | NONBLOCK_CLOEXEC, 0), expected)
            self.assertEqual(self.verdict(name, 'socket', AF_UNIX, seqpacket, 0), bpf.ALLOW)
            for family in (AF_INET, AF_INET6):
                self.assertEqual(self.verdict(name, 'socket', family, stream, 6), bpf.ALLOW)
                self.assertEqual(self.verdict(name, 'socket', family, datagram, 17), bpf.ALLOW)
                for kind, protocol in ((raw, 1), (raw, 255), (stream, 132), (seqpacket, 132), (stream, 262), (6, 33)):
                    self.assertEqual(self.verdict(name, 'socket', family, kind, protocol), DENIED)
            for family in (AF_INET, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK, AF_XDP):
                self.assertEqual(self.verdict(name, 'socketpair', family, stream, 0), DENIED)

    def test_numbers_above_32_bits_do_not_slip_through(self):
        for name, _ in self.each():
            self.assertEqual(self.verdict(name, 'socket', AF_ALG | 1 << 32, 5, 0), DENIED)
            self.assertEqual(self.verdict(name, 'socket', AF_UNIX | 1 << 63, 1, 0), DENIED)
            self.assertEqual(self.verdict(name, 'clone', 0x10000000 | 1 << 40), DENIED)

    def test_no_huge_pages_of_the_host(self):
        private_anonymous, hugetlb, size_of_2_mib = 0x22, 0x40000, 21 << 26
        for name, _ in self.each():
            self.assertEqual(self.verdict(name, 'mmap', 0, 4096, 3, private_anonymous | 0x24000), bpf.ALLOW)
            for flags in (hugetlb, hugetlb | private_anonymous, hugetlb | size_of_2_mib, hugetlb | 1 << 40):
                self.assertEqual(self.verdict(name, 'mmap', 0, 4096, 3, flags), DENIED, hex(flags))
            self.assertEqual(self.verdict(name, 'memfd_create', 0, 3), bpf.ALLOW)
            self.assertEqual(self.verdict(name, 'memfd_create', 0, 4 | size_of_2_mib), DENIED)

    def test_personalities_are_the_usual_ones(self):
        address_no_randomize = 0x0040000
        for name, _ in self.each():
            self.assertEqual(self.verdict(name, 'personality', 0xFFFFFFFF), bpf.ALLOW)
            self.assertEqual(self.verdict(name, 'personality', address_no_randomize), DENIED)

    def test_the_other_interfaces_of_the_kernel_are_denied(self):
        for name, program in self.each():
            for arch in FOREIGN[name]:
                for number in range(400):
                    self.assertEqual(bpf.run(program, arch, number), DENIED)
        for number in range(1024):
            self.assertEqual(bpf.run(self.programs['x64'], AUDIT_ARCH['x64'], self.script.X32_BIT | number), DENIED)

    def test_what_nobody_knows_yet_is_missing_and_not_denied(self):
        for name, program in self.each():
            newest = max(number for call, number in self.numbers[name].items() if call)
            for number in (newest + 1, newest + 100, 1023, 0xFFFFFF, self.script.X32_BIT - 1):
                self.assertEqual(bpf.run(program, AUDIT_ARCH[name], number), UNKNOWN, number)


if __name__ == '__main__':
    unittest.main()

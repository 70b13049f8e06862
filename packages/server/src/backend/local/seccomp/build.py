"""Compiles the sandboxes' seccomp filter: /usr/bin/python3 build.py [FOLDER], by default the one this file is in.

The starting point is the container engines' allow-list as Debian ships it, resolved for a process without
capabilities; what is taken from it, and why, stands below. docs/decisions/0007-seccomp-filter.md tells the reasons.
The results are classic BPF (struct sock_filter, 8 bytes an instruction), named as Node names architectures.

Needs the packages python3-seccomp and golang-github-containers-common. Other versions of them may give other
bytes for the same filter; the committed ones are of Debian 12 (libseccomp 2.5.4, containers-common 0.50.1).
"""

import errno
import json
import os
import struct
import sys
import tempfile

import seccomp
from seccomp import ALLOW, EQ, ERRNO, MASKED_EQ, Arch, Arg, Attr

ALLOW_LIST = '/usr/share/containers/seccomp.json'
ARCHITECTURES = {'x64': (Arch.X86_64, 'amd64'), 'arm64': (Arch.AARCH64, 'arm64')}
# Numbers of system calls lie below this on both; x32's have a bit set above it.
LAST_NUMBER = 1024
X32_BIT = 0x40000000

# Of <linux/bpf_common.h> and <linux/seccomp.h>.
LOAD_WORD, JUMP_IF_GREATER, JUMP_IF_GREATER_OR_EQUAL, RETURN = 0x20, 0x25, 0x35, 0x06
RETURN_ERRNO = 0x00050000

# On the list, but a way to other processes, to the kernel's keys, or to parts of the kernel that need a
# capability nobody has here, or that are large, seldom used and often broken.
REMOVED = {
    'other processes': 'kcmp pidfd_getfd process_madvise process_mrelease process_vm_readv process_vm_writev ptrace',
    'keys': 'add_key keyctl request_key',
    'namespaces': 'setns unshare',
    'mounts': 'chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root umount umount2',
    'file handles': 'fanotify_init fanotify_mark name_to_handle_at open_by_handle_at',
    'the machine': 'reboot syslog vhangup sethostname setdomainname',
    # Their number is limited for the whole machine: one session could take all that its databases need.
    "the machine's share of AIO": 'io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents',
    # They write out the disks of everybody; what a session can write to is in memory.
    "the host's disks": 'sync syncfs',
    'surface': 'bpf io_uring_enter io_uring_register io_uring_setup modify_ldt perf_event_open remap_file_pages '
               'userfaultfd vmsplice',
}

# Its flags lie behind a pointer, which no filter can follow: ENOSYS lets the C library fall back to clone.
MISSING = {'clone3'}

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET of clone(2); CLONE_NEWTIME is for unshare and clone3 only.
NAMESPACE_FLAGS = 0x7E020000

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_DGRAM, SOCK_TYPE_MASK = 1, 2, 0xF
IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP = 0, 6, 17
MAP_HUGETLB, MFD_HUGETLB = 0x40000, 0x4

# Alternatives of argument conditions, in place of the list's.
CONDITIONS = {
    'clone': [[Arg(0, MASKED_EQ, NAMESPACE_FLAGS, 0)]],
    # Other families and protocols load kernel modules on first use: SCTP, DCCP, AF_ALG, AF_VSOCK, ...
    'socket': [[Arg(0, EQ, AF_UNIX)]] + [
        [Arg(0, EQ, family), Arg(1, MASKED_EQ, SOCK_TYPE_MASK, kind), Arg(2, EQ, protocol)]
        for family in (AF_INET, AF_INET6)
        for kind, protocols in ((SOCK_STREAM, (IPPROTO_IP, IPPROTO_TCP)), (SOCK_DGRAM, (IPPROTO_IP, IPPROTO_UDP)))
        for protocol in protocols
    ],
    'socketpair': [[Arg(0, EQ, AF_UNIX)]],
    # Huge pages that the host keeps for others count towards no limit of a session.
    'mmap': [[Arg(3, MASKED_EQ, MAP_HUGETLB, 0)]],
    'memfd_create': [[Arg(1, MASKED_EQ, MFD_HUGETLB, 0)]],
}

_COMPARISONS = {
    'SCMP_CMP_EQ': lambda arg: Arg(arg['index'], EQ, arg['value']),
    'SCMP_CMP_MASKED_EQ': lambda arg: Arg(arg['index'], MASKED_EQ, arg['value'], arg['valueTwo']),
}


def read_allowed(go_arch):
    """{name: alternatives of argument conditions} of the allow-list, for no capabilities; [[]] is always."""
    with open(ALLOW_LIST, encoding='utf-8') as file:
        rules = json.load(file)['syscalls']
    removed = {name for names in REMOVED.values() for name in names.split()}
    allowed = {}
    for rule in rules:
        includes = rule.get('includes') or {}
        applies = not includes.get('caps') and go_arch in includes.get('arches', [go_arch])
        if rule['action'] != 'SCMP_ACT_ALLOW' or not applies:
            continue
        for name in rule['names']:
            if name not in removed and name not in CONDITIONS:
                allowed.setdefault(name, []).append([_COMPARISONS[arg['op']](arg) for arg in rule.get('args') or []])
    return {**allowed, **CONDITIONS}


def build(arch, go_arch):
    """The program (bytes) for one architecture: EPERM for all that is not allowed."""
    result = seccomp.SyscallFilter(ERRNO(errno.EPERM))
    if not result.exist_arch(arch):
        result.add_arch(arch)
        result.remove_arch(Arch.NATIVE)
    # The 32-bit and x32 interfaces of the same kernel.
    result.set_attr(Attr.ACT_BADARCH, ERRNO(errno.EPERM))
    result.set_attr(Attr.CTL_OPTIMIZE, 2)
    allowed = read_allowed(go_arch)
    known = {number: name_of(arch, number) for number in range(LAST_NUMBER) if name_of(arch, number)}
    for name in known.values():
        if name in MISSING:
            result.add_rule_exactly(ERRNO(errno.ENOSYS), name)
        else:
            for conditions in allowed.get(name, []):
                result.add_rule_exactly(ALLOW, name, *conditions)
    # Denied as all others, by the one number that ZeroMQ takes for a kernel without it: with EPERM it aborts, and Jupyter's kernels with it.
    result.add_rule_exactly(ERRNO(errno.EOPNOTSUPP), 'socket', Arg(0, EQ, AF_NETLINK))
    with tempfile.TemporaryFile() as file:
        result.export_bpf(file)
        file.seek(0)
        return answer_newer_calls(max(known)) + file.read()


def answer_newer_calls(last_known):
    """Instructions before all others: ENOSYS for calls newer than any known here, so that libraries fall back."""
    return b''.join(
        struct.pack('<HBBI', *instruction)
        for instruction in (
            (LOAD_WORD, 0, 0, 0),  # seccomp_data.nr
            (JUMP_IF_GREATER_OR_EQUAL, 2, 0, X32_BIT),
            (JUMP_IF_GREATER, 0, 1, last_known),
            (RETURN, 0, 0, RETURN_ERRNO | errno.ENOSYS),
        )
    )


def name_of(arch, number):
    """The name of a system call, None for a number without one."""
    try:
        return seccomp.resolve_syscall(arch, number).decode()
    except ValueError:
        return None


def main(folder):
    for node_name, architecture in ARCHITECTURES.items():
        with open(os.path.join(folder, f'{node_name}.bpf'), 'wb') as output:
            output.write(build(*architecture))


if __name__ == '__main__':
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))

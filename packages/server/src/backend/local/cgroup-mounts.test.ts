import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseOwnCgroups } from './cgroup-mounts.ts'

test('finds v1 hierarchies and an empty v2 mount beside them', () => {
  const mountinfo = [
    '31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755',
    '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct',
    '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory',
    '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw',
  ].join('\n')
  const cgroups = '4:memory:/jobs/a:b\n1:cpu,cpuacct:/\n0::/\n'
  assert.deepEqual(parseOwnCgroups(mountinfo, cgroups), [
    { version: 1, dir: '/sys/fs/cgroup/cpu,cpuacct', controllers: ['cpu', 'cpuacct'] },
    { version: 1, dir: '/sys/fs/cgroup/memory/jobs/a:b', controllers: ['memory'] },
    { version: 2, dir: '/sys/fs/cgroup/unified', controllers: [] },
  ])
})

test('finds the group of a systemd service on v2', () => {
  const mountinfo = '30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate'
  assert.deepEqual(parseOwnCgroups(mountinfo, '0::/system.slice/cob.service\n'), [
    { version: 2, dir: '/sys/fs/cgroup/system.slice/cob.service', controllers: [] },
  ])
})

test('in a container it counts from what the mount shows, and unescapes', () => {
  const mountinfo = '9 8 0:32 /docker/ab /sys/fs/my\\040cgroup/memory ro - cgroup cgroup rw,memory'
  assert.deepEqual(parseOwnCgroups(mountinfo, '4:memory:/docker/ab/x\n'), [
    { version: 1, dir: '/sys/fs/my cgroup/memory/x', controllers: ['memory'] },
  ])
})

test('a group that the mount does not show is not found', () => {
  const mountinfo = '9 8 0:32 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory'
  assert.deepEqual(parseOwnCgroups(mountinfo, '4:memory:/docker/other\n'), [])
})

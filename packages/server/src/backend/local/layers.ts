/**
 * What contains a sandbox, each told apart so that tests can show what it holds: they switch layers off, and
 * what then gets out is what the layer is for. Not a setting: a server has all of them.
 */
export const LAYERS = [
  'own-uid',
  'seccomp',
  'no-capabilities',
  'no-user-namespaces',
  'pid-namespace',
  'network-namespace',
  'ipc-namespace',
  'uts-namespace',
  'cgroup-namespace',
  'minimal-root',
  'read-only-root',
  'storage-size',
  'empty-environment',
  'closed-descriptors',
  'resource-limits',
  'memory-limit',
  'processes-limit',
  'cpu-limit',
] as const

export type Layer = (typeof LAYERS)[number]

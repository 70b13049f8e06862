import type { Controller } from './cgroup.ts'
import { CGROUP_V1_CONTROLLERS } from './cgroup-v1.ts'
import { CGROUP_V2_CONTROLLERS } from './cgroup-v2.ts'

const BY_NAME: ReadonlyMap<string, Controller> = new Map([
  ...Object.entries(CGROUP_V1_CONTROLLERS).map(([name, each]) => [`v1 ${name}`, each] as const),
  ...Object.entries(CGROUP_V2_CONTROLLERS).map(([name, each]) => [`v2 ${name}`, each] as const),
])

/** A name that finds the controller again in another process. */
export function nameController(controller: Controller): string {
  return [...BY_NAME].find(([, each]) => each === controller)?.[0] ?? ''
}

export function findController(name: string): Controller | undefined {
  return BY_NAME.get(name)
}

import type { Attack } from './attack.ts'
import { CONTROL_CHANNEL } from './control-channel.ts'
import { FILE_PATHS } from './file-paths.ts'
import { FILES } from './files.ts'
import { KERNEL } from './kernel.ts'
import { LIFE_CYCLE } from './life-cycle.ts'
import { MEMORY } from './memory.ts'
import { NETWORK } from './network.ts'
import { RESOURCES } from './resources.ts'

/** Every attack there is, by what it goes for. */
export const ATTACKS: Readonly<Record<string, readonly Attack[]>> = {
  files: FILES,
  'file paths': FILE_PATHS,
  kernel: KERNEL,
  network: NETWORK,
  'control channel': CONTROL_CHANNEL,
  memory: MEMORY,
  resources: RESOURCES,
  'life cycle': LIFE_CYCLE,
}

import type { CreateKernel } from '@cob/protocol'
import type { Command } from 'commander'
import type { Client, Target } from './client.ts'
import { parseWhole } from './parse.ts'

/** Of commands that make a kernel for themselves. */
export interface KernelOptions extends Target {
  readonly memory?: number
  readonly timeout?: number
}

export function addKernelOptions(command: Command): Command {
  return command
    .option('--memory <KB>', 'memory of the kernel', parseWhole)
    .option('--timeout <ms>', 'time one execution may run', parseWhole)
    .option(
      '--url <url>',
      'the server (COB_URL, or the one that uses the data folder; without any, one is started for this command)',
    )
    .option('--key <key>', 'accessKey:secretKey (COB_KEY, or the first key)')
}

/** Makes a kernel, and destroys it when `use` is done with it. */
export async function withKernel<T>(
  client: Client,
  lang: string,
  options: KernelOptions,
  use: (kernelId: string) => Promise<T>,
): Promise<T> {
  const resourceLimits = {
    ...(options.memory === undefined ? {} : { maxMem: options.memory }),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
  }
  const request: CreateKernel = { lang, resourceLimits }
  // To its end even when stopped: a kernel that was made must be known to be destroyed.
  const { kernelId } = await client.create(request)
  try {
    return await use(kernelId)
  } finally {
    // It may have ended by itself.
    await client.destroy(kernelId).catch(() => {})
  }
}

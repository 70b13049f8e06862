import { accessSync, constants, realpathSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import type { LangManifest } from '@cob/protocol'
import { z } from 'zod'

/** What is read of a `kernel.json` (https://jupyter-client.readthedocs.io/en/stable/kernels.html). */
const specSchema = z.object({ argv: z.array(z.string()).min(1), display_name: z.string().max(200) })
/** Of a kernelspec; those that are none as part of a kernel type's are left out. */
const NAME = /^[a-z0-9][a-z0-9._-]{0,31}$/i

/** Where the name of a program is looked for, as in sandboxes. */
const PATH = ['/usr/local/bin', '/usr/bin', '/bin']
/** What of the host's programs sandboxes have, symbolic links followed. */
const PROGRAMS = '/usr/'

/**
 * A manifest for each of the kernelspecs that `manifest` tells of, `interpreter` being the program it names. What cannot be read as one is
 * left out.
 */
export async function findKernelspecs(manifest: LangManifest): Promise<LangManifest[]> {
  const found = new Map<string, LangManifest>()
  for (const folder of manifest.kernelspecs) {
    for (const name of await readdir(folder).catch(() => [])) {
      if (!NAME.test(name) || found.has(name) || manifest.evaluator.start !== 'fork') continue
      const kernelspec = path.join(folder, name)
      const file = path.join(kernelspec, 'kernel.json')
      const spec = await readSpec(file)
      if (!spec) continue
      const interpreter = findProgram(spec.argv[0] ?? '')
      const { evaluator } = manifest
      found.set(name, {
        ...manifest,
        lang: `${manifest.lang}:${name}`,
        displayName: spec.display_name,
        interpreter,
        ...(!isProgram(interpreter) && {
          install: `whatever brings ${interpreter}, which ${file} names`,
        }),
        evaluator: { ...evaluator, options: { ...evaluator.options, kernelspec } },
      })
    }
  }
  return [...found.values()]
}

async function readSpec(file: string): Promise<z.infer<typeof specSchema> | undefined> {
  try {
    return specSchema.parse(JSON.parse(await readFile(file, 'utf8')))
  } catch {
    return undefined
  }
}

/** Whether a sandbox has this program and may run it. Looked up at once, for each session anew: by turns it would take ten times as long. */
export function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return realpathSync.native(file).startsWith(PROGRAMS)
  } catch {
    return false
  }
}

/** What the evaluator will run; a name that is found nowhere stays as it is. */
function findProgram(name: string): string {
  if (/^python[0-9.]*$/.test(name)) return '/usr/bin/python3'
  if (name.includes('/')) return name
  for (const folder of PATH) {
    const file = path.join(folder, name)
    if (isProgram(file)) return file
  }
  return name
}

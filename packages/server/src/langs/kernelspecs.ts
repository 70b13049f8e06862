import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import type { LangManifest } from '@cob/protocol'
import { z } from 'zod'

/** What is read of a `kernel.json` (https://jupyter-client.readthedocs.io/en/stable/kernels.html). */
const specSchema = z.object({ argv: z.array(z.string()).min(1), display_name: z.string().max(200) })
/** Of a kernelspec; those that are none as part of a kernel type's are left out. */
const NAME = /^[a-z0-9][a-z0-9._-]{0,31}$/i

/** A manifest for each of the kernelspecs that `manifest` tells of. What cannot be read as one is left out. */
export async function findKernelspecs(manifest: LangManifest): Promise<LangManifest[]> {
  const found = new Map<string, LangManifest>()
  for (const folder of manifest.kernelspecs) {
    for (const name of await readdir(folder).catch(() => [])) {
      if (!NAME.test(name) || found.has(name) || manifest.evaluator.start !== 'fork') continue
      const kernelspec = path.join(folder, name)
      const spec = await readSpec(path.join(kernelspec, 'kernel.json'))
      if (!spec) continue
      const { evaluator } = manifest
      found.set(name, {
        ...manifest,
        lang: `${manifest.lang}:${name}`,
        displayName: spec.display_name,
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

import { z } from 'zod'

/** `langs/<lang>/lang.json`: what the server needs to know of a kernel type. */
export const langManifestSchema = z.strictObject({
  lang: z.string().regex(/^[a-z][a-z0-9+#.-]{0,31}$/),
  aliases: z.array(z.string().min(1).max(32)),
  displayName: z.string(),
  /** Absolute path of the interpreter; the type is unavailable where it is missing. */
  interpreter: z.string().startsWith('/'),
  /** Command that prints the interpreter's version. */
  versionCommand: z.array(z.string()),
  /** What to type to get the interpreter when it is missing. */
  install: z.string(),
  /** Least memory in KB a session of this type needs to start and run a trivial program. */
  minMemKb: z.int().positive(),
  /** What it can do besides running code: input, interrupt, value, display, complete, inspect. */
  features: z.array(z.string()),
  /** Folders beside this one whose files are added to this one's; manifests and cases apart. */
  includes: z.array(z.string().regex(/^[a-z][a-z0-9-]*$/)).default([]),
  /**
   * Folders of Jupyter kernelspecs: each spec found there is a kernel type `<lang>:<its name>` of its own, told in `options.kernelspec`.
   * They must be folders that sandboxes have. Of two specs of one name the first counts.
   */
  kernelspecs: z.array(z.string().startsWith('/usr/')).default([]),
  /** Folders of the host's `/etc` that the interpreter needs, `*` for any letters; what everybody may read of them is put into sandboxes. */
  etc: z.array(z.string().regex(/^[A-Za-z0-9*.-]+$/)).default([]),
  evaluator: z.discriminatedUnion('start', [
    /**
     * A Python module beside the manifest or included, forked from the agent: its `main(channel, spec)` is called in the child. `spec`
     * is this object, with `folder`: where the manifest's files are.
     */
    z.strictObject({
      start: z.literal('fork'),
      module: z.string(),
      /** `asks`: its descriptor 0 asks for input when somebody reads it; without, it is at its end. */
      stdin: z.literal('asks').optional(),
      /** It keeps nothing between executions: when it is killed, a new one takes its place, and only what it ran has ended. */
      stateless: z.boolean().default(false),
      options: z.record(z.string(), z.unknown()).default({}),
    }),
    /** A program started with the channel on descriptor 3. `{lang}` stands for the folder the manifest's files are in. */
    z.strictObject({ start: z.literal('exec'), argv: z.array(z.string()).min(1) }),
  ]),
})
export type LangManifest = z.infer<typeof langManifestSchema>

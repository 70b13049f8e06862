import type { LangInfo, LangManifest } from '@cob/protocol'
import type { Profile } from '../backend/backend.ts'

/** A kernel type that can be started here. */
export interface Lang {
  readonly manifest: LangManifest
  readonly profile: Profile
}

/** The kernel types of this server, found in `langs/`. */
export interface Langs {
  /** By name or alias, case-sensitive. Undefined: unknown. `available: false` in `list()` has no `Lang`. */
  find(nameOrAlias: string): { readonly info: LangInfo; readonly lang: Lang | undefined } | undefined
  list(): LangInfo[]
}

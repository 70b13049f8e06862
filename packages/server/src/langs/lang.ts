import type { LangInfo, LangManifest } from '@cob/protocol'
import type { Profile } from '../backend/backend.ts'

/** A kernel type that can be started here. */
export interface Lang {
  readonly manifest: LangManifest
  readonly profile: Profile
}

/** A kernel type as it is known here, perhaps without its interpreter. What that needs is looked at when it is first asked for. */
export interface LangEntry {
  /** Of a manifest. */
  readonly name: string
  readonly install: string
  info(): Promise<LangInfo>
  /** Undefined where the interpreter is missing. */
  load(): Promise<Lang | undefined>
}

/** The kernel types of this server, found in `langs/`. */
export interface Langs {
  /** By name or alias, case-sensitive. Undefined: unknown. */
  find(nameOrAlias: string): LangEntry | undefined
  names(): string[]
  list(): Promise<LangInfo[]>
}

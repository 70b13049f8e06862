export type { Keys } from './access/keys.ts'
export type { Records } from './access/records.ts'
export {
  examine,
  openAdministration,
  openStore,
  type RunningServer,
  type ServeOptions,
  serve,
} from './app.ts'
export type { Check } from './backend/check.ts'
export { type Config, ConfigError, configReference, loadConfig } from './config.ts'
export { CobError } from './errors.ts'
export { toCsv } from './http/csv.ts'
export { makeFolder } from './make-folder.ts'
export { createKey } from './store/key.ts'

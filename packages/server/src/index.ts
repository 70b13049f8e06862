export { examine, openStore, type RunningServer, type ServeOptions, serve } from './app.ts'
export type { Check } from './backend/check.ts'
export { type Config, ConfigError, configReference, loadConfig } from './config.ts'
export { createKey } from './store/key.ts'

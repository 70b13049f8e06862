export { openStore, type RunningServer, serve } from './app.ts'
export { type Config, ConfigError, configReference, loadConfig } from './config.ts'
export { createKey } from './store/key.ts'

/** Makes one sandbox with the local backend, says so, and waits to be killed. */
import { pino } from 'pino'
import { createLocalBackend } from '../../packages/server/src/backend/local/local-backend.ts'

const [dataDir = '', marker = ''] = process.argv.slice(2)
const backend = await createLocalBackend({ dataDir, log: pino({ level: 'silent' }) })
await backend.prepare({ name: 'crash', argv: ['/bin/sh', '-c', 'sleep 1000 & wait', marker], files: [] })
process.stdout.write('ready\n')

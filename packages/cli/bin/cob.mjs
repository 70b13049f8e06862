#!/usr/bin/env node
// Runs the command with the Node 24 that comes with the packages, whatever Node found this file.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const bundled = fileURLToPath(new URL('../../../node_modules/.bin/node', import.meta.url))

if (!existsSync(bundled)) {
  process.stderr.write('cob: its packages are not installed. Run "npm start" once in its folder.\n')
  process.exitCode = 2
} else if (Number.parseInt(process.versions.node, 10) >= 24) {
  await import(main)
} else {
  const child = spawn(bundled, [main, ...process.argv.slice(2)], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
}

#!/usr/bin/env -S node --max-semi-space-size=8
// Runs the command with the Node 24 that comes with the packages, whatever Node found this file. With the young generation that V8
// takes by itself a server holds 100 MB more (decision 12).
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module from 'node:module'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const cache = new URL('../../../node_modules/.cache/cob-compiled', import.meta.url)
const bundled = fileURLToPath(new URL('../../../node_modules/.bin/node', import.meta.url))

if (!existsSync(bundled)) {
  process.stderr.write('cob: its packages are not installed. Run "npm start" once in its folder.\n')
  process.exitCode = 2
} else if (Number.parseInt(process.versions.node, 10) >= 24) {
  // Types are stripped once, not at every start. Not in the shared folder for temporary files, where others could write it first.
  module.enableCompileCache(process.env.NODE_COMPILE_CACHE ?? fileURLToPath(cache))
  await import(main)
} else {
  const child = spawn(bundled, [...process.execArgv, main, ...process.argv.slice(2)], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
}

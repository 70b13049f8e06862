/** A process that serves with layers left out: `node server-under-attack.ts '{"without": [...], "agentDir": ...}'`. Tells `{url, key}`. */
import { loadConfig, type ServeOptions, serve } from '@cob/server'

// Its caller made it.
const options = JSON.parse(process.argv[2] ?? '{}') as ServeOptions
const server = await serve(loadConfig(), options)
process.stdout.write(`${JSON.stringify({ url: server.url, key: server.key })}\n`)
// What is held counts, not what is yet to be collected, nor what V8 and malloc keep for later; started with --expose-gc.
process.on('SIGUSR2', () => {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  process.stdout.write(`${JSON.stringify({ held: heapUsed + external })}\n`)
})
process.once('SIGTERM', () => {
  void server.close().then(() => process.exit(0))
})

import type { MakeFakeAgent } from './fake-backend.ts'

/** The contract's agent: sends back every line, and ends its sandbox at the line `exit`. */
export const createFakeEcho: MakeFakeAgent = (_onDeath, end) => {
  const streams = new Set<{ end(): unknown }>()
  const stop = (): void => {
    for (const stream of streams) stream.end()
  }
  return {
    serve(stream) {
      streams.add(stream)
      stream.on('error', () => {})
      stream.once('end', () => stream.end())
      let text = ''
      stream.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8')
        const lines = text.split('\n')
        text = lines.pop() ?? ''
        for (const line of lines) {
          if (line === 'exit') {
            end()
            stop()
          } else stream.write(`${line}\n`)
        }
      })
    },
    disconnect: stop,
    stop,
    forget: () => {},
  }
}

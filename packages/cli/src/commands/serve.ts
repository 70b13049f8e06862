import { loadConfig, type RunningServer, serve } from '@cob/server'
import type { AddCommand } from '../command.ts'
import { onStopSignal } from '../stop-signal.ts'

const CODE = String.raw`print(\"Hello, world!\")\n6 * 7`

export const addServe: AddCommand = (program, done) => {
  program
    .command('serve')
    .description(
      'Start the server; ctrl-C ends it and its sessions. With COB_KEEP_SESSIONS=1, SIGTERM leaves them for the next start. So does a crash.',
    )
    .addHelpText('after', '\nExamples:\n  cob serve\n  COB_PORT=9000 COB_DATA_DIR=/srv/cob cob serve')
    .action(async () => {
      const config = loadConfig()
      // A full disk, or a pipe nobody reads any more, ends no sessions.
      for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
      process.stderr.write('cob: starting ...\n')
      const stopped = new Promise<NodeJS.Signals>((resolve) => onStopSignal(resolve))
      const server = await serve(config)
      process.stdout.write(welcome(server, config.dataDir))
      const leave = (await Promise.race([stopped, server.drained])) === 'SIGTERM' && config.keepSessions
      process.stderr.write(
        leave ? 'cob: leaving sessions to the next start ...\n' : 'cob: ending sessions ...\n',
      )
      await server.close({ leave })
      done(0)
    })
}

function welcome({ url, key, firstStart }: RunningServer, dataDir: string): string {
  return `
  Cob listens on   ${url}
  Key              ${key}
                   ${firstStart ? 'made now and kept' : 'kept'} in ${dataDir}/bootstrap-key
  API              ${url}/docs

  Paste this to run some Python:

    KERNEL=$(curl -s ${url}/v1/kernel/create -H 'Authorization: Bearer ${key}' \\
      -H 'Content-Type: application/json' -d '{"lang": "python3"}' | cut -d '"' -f 4)
    curl -s ${url}/v1/kernel/$KERNEL -H 'Authorization: Bearer ${key}' \\
      -H 'Content-Type: application/json' -d '{"code": "${CODE}"}'

`
}

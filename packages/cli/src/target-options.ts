import type { Command } from 'commander'

/** Of commands that speak with a server, or with the data folder where none runs. */
export function addTargetOptions(command: Command): Command {
  return command
    .option('--url <url>', 'the server (COB_URL, or the one that uses the data folder)')
    .option(
      '--key <key>',
      'accessKey:secretKey; others on this machine may see it (COB_KEY, or the first key)',
    )
    .option('--json', 'print JSON')
}

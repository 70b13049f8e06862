import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** Things on the host that nothing inside a session may find. */
export interface Bait {
  /** In the environment of the server and in a file that the server holds open and would pass on. */
  readonly canary: string
  readonly openFile: string
  readonly port: number
  readonly abstractSocket: string
  /** Id of a System V shared memory segment that everybody on the host may read. */
  readonly sharedMemory: number
  /** Readable by root only, in a folder that sandboxes show. */
  readonly rootFile: string
  /** A world-readable file in a folder of the host that sandboxes do not show. */
  readonly hostFile: string
  close(): void
}

export async function layBait(): Promise<Bait> {
  const canary = randomBytes(12).toString('hex')
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-bait-'))
  const write = (file: string, mode: number): string => {
    writeFileSync(file, canary, { mode })
    return file
  }
  const openFile = write(path.join(folder, 'open'), 0o644)
  const rootFile = write(`/usr/local/share/cob-bait-${canary}`, 0o600)
  const hostFile = write(`/var/tmp/cob-bait-${canary}`, 0o644)
  const tcp = createServer((socket) => socket.on('error', () => {}).end(canary)).listen(0, '127.0.0.1')
  const abstractSocket = `cob-bait-${canary}`
  const unix = createServer((socket) => socket.on('error', () => {}).end(canary)).listen(
    `\0${abstractSocket}`,
  )
  await Promise.all([once(tcp, 'listening'), once(unix, 'listening')])
  const made = execFileSync('ipcmk', ['--shmem', '4096', '--mode', '0666'], { encoding: 'utf8' })
  const sharedMemory = Number(/\d+/.exec(made)?.[0])
  return {
    canary,
    openFile,
    port: (tcp.address() as AddressInfo).port,
    abstractSocket,
    sharedMemory,
    rootFile,
    hostFile,
    close() {
      tcp.close()
      unix.close()
      execFileSync('ipcrm', ['--shmem-id', String(sharedMemory)])
      for (const file of [folder, rootFile, hostFile]) rmSync(file, { recursive: true, force: true })
    },
  }
}

import { once } from 'node:events'
import { closeSync, constants, mkdirSync, openSync } from 'node:fs'
import { readdir, rename, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'

/** A listening socket on its way into a sandbox. `close` closes this process's copy of it. */
interface ListeningSocket {
  readonly fd: number
  close(): void
}

/** The private directory on the host with one listening Unix socket per sandbox. */
export interface SocketDirectory {
  /**
   * Starts listening under a sandbox's name, which stays until {@link SocketDirectory.unlink}. The copy here
   * must be closed before anything connects, or this process would accept the connection itself.
   */
  listen(id: string): Promise<ListeningSocket>
  connect(id: string): Promise<Socket>
  /** Idempotent. On a disk that cannot be written the name stays until the next `clear`: it leads nowhere. */
  unlink(id: string): Promise<void>
  /** Removes what an earlier server left, but for the sockets of these sandboxes. */
  clear(keep: ReadonlySet<string>): Promise<void>
  close(): void
}

/** Opens `dir`, made with mode 0700 if missing. */
export function openSocketDirectory(dir: string): SocketDirectory {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY)
  // unix(7) allows 108 bytes in a socket's address, however long the way to `dir` is. It also keeps
  // that way out of getsockname(2) inside.
  const address = (name: string): string => `/proc/self/fd/${fd}/${name}`
  return {
    async listen(id) {
      const server = createServer()
      server.listen(address(`${id}.new`))
      await once(server, 'listening')
      // Node unlinks the name it listened on when it closes its copy.
      await rename(join(dir, `${id}.new`), join(dir, `${id}.sock`)).catch((error: unknown) => {
        server.close()
        throw error
      })
      return { fd: toDescriptor(server), close: () => void server.close() }
    },
    async connect(id) {
      const socket = connect(address(`${id}.sock`))
      await once(socket, 'connect')
      return socket
    },
    unlink: (id) => rm(join(dir, `${id}.sock`), { force: true }).catch(() => {}),
    async clear(keep) {
      const kept = new Set([...keep].map((id) => `${id}.sock`))
      for (const name of await readdir(dir)) if (!kept.has(name)) await rm(join(dir, name), { force: true })
    },
    close: () => closeSync(fd),
  }
}

/** Node has no public way to a server's descriptor. */
function toDescriptor(server: Server): number {
  const { _handle: handle } = server as unknown as { _handle?: { fd?: number } }
  if (handle?.fd === undefined || handle.fd < 0)
    throw new Error('this release of Node hides descriptors of servers')
  return handle.fd
}

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'

/** A TCP and UDP echo on both versions of IP that answers DNS queries for any name with its own IPv4 address. */
const SERVICES = `
import socket, socketserver, sys, threading
four, six = sys.argv[1:3]
class Echo(socketserver.BaseRequestHandler):
    def handle(self): self.request.sendall(b'internet ' + self.request.recv(100))
class UdpEcho(socketserver.BaseRequestHandler):
    def handle(self): self.request[1].sendto(b'internet ' + self.request[0], self.client_address)
class Resolver(socketserver.BaseRequestHandler):
    def handle(self):
        query, answering = self.request
        question = query[12:query.index(b'\\0', 12) + 5]
        kind = question[-4:-2]
        record = b'\\xc0\\x0c' + question[-4:] + b'\\0\\0\\0\\x3c\\0\\4' + socket.inet_aton(four) if kind == b'\\0\\1' else b''
        header = query[:2] + b'\\x81\\x80\\0\\1\\0' + (b'\\1' if record else b'\\0') + b'\\0' * 4
        answering.sendto(header + question + record, self.client_address)
class Server(socketserver.ThreadingTCPServer): allow_reuse_address = daemon_threads = True
class Server6(Server): address_family = socket.AF_INET6
for make in (lambda: Server((four, 7000), Echo), lambda: Server6((six, 7000), Echo), lambda: socketserver.UDPServer((four, 7000), UdpEcho), lambda: socketserver.UDPServer((four, 53), Resolver)):
    threading.Thread(target=make().serve_forever, daemon=True).start()
print('ready', flush=True)
threading.Event().wait()
`

/** A network of one host behind a cable, with public addresses, and what of this host the cable is plugged into. */
export interface Internet {
  readonly address: string
  readonly address6: string
  /** This host's end: public addresses of this host's own. */
  readonly hostAddress: string
  readonly hostAddress6: string
  readonly port: number
  close(): Promise<void>
}

/** Needs root. Names and addresses are of this process alone. */
export async function openInternet(): Promise<Internet> {
  const id = process.pid % 65_536
  const name = `cob${id}`
  // Public, but never announced on the internet (11.0.0.0/8), and of a block not yet given out.
  const net = `11.${id >> 8}.${id & 255}`
  const net6 = `2620:fe:${id.toString(16)}:`
  const [address, hostAddress] = [`${net}.2`, `${net}.1`]
  const [address6, hostAddress6] = [`${net6}:2`, `${net6}:1`]
  const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const inside = (...args: string[]) => ip('-n', name, ...args)
  const remove = (): void => {
    try {
      ip('netns', 'delete', name)
    } catch {
      // It was not made.
    }
  }
  try {
    ip('netns', 'add', name)
    ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
    ip('address', 'add', `${hostAddress}/24`, 'dev', name)
    ip('-6', 'address', 'add', `${hostAddress6}/64`, 'dev', name, 'nodad')
    ip('link', 'set', name, 'up')
    inside('address', 'add', `${address}/24`, 'dev', 'eth0')
    inside('-6', 'address', 'add', `${address6}/64`, 'dev', 'eth0', 'nodad')
    for (const device of ['lo', 'eth0']) inside('link', 'set', device, 'up')
  } catch (error) {
    remove()
    throw error
  }
  const services = spawn(
    'ip',
    ['netns', 'exec', name, '/usr/bin/python3', '-c', SERVICES, address, address6],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await once(services.stdout, 'data')
  return {
    address,
    address6,
    hostAddress,
    hostAddress6,
    port: 7000,
    async close() {
      const exited = once(services, 'exit')
      services.kill('SIGKILL')
      await exited
      remove()
    },
  }
}

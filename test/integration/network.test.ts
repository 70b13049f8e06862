import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { NO_LIMITS } from '@cob/protocol'
import { createKey, openStore } from '@cob/server'
import { type ApiClient, createApiClient } from '../support/api-client.ts'
import { footprint } from '../support/footprint.ts'
import { type Internet, openInternet } from '../support/internet.ts'
import { recordedSandbox } from '../support/restarting-server.ts'
import { type ServerProcess, startServerProcess } from '../support/server-process.ts'
import { warmSettled } from '../support/warm.ts'

const TALK = `
import socket
def talk(host, port, device=None, timeout=2):
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(timeout)
        if device: client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
        try:
            client.connect((host, port)); client.sendall(b'hello'); return client.recv(100).decode()
        except OSError as problem: return type(problem).__name__
def talk_udp(host, port):
    with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        try: client.sendto(b'hello', (host, port)); return client.recv(100).decode()
        except OSError as problem: return type(problem).__name__
`

describe('network', () => {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-network-'))
  let internet: Internet
  let start: () => Promise<void>
  let server: ServerProcess
  let none: ApiClient
  let egress: ApiClient
  let kernel: string
  const listeners: Server[] = []
  const listen = async (host: string): Promise<number> => {
    const listener = createServer((socket) => socket.on('error', () => {}).end('the host')).listen(0, host)
    listeners.push(listener)
    await once(listener, 'listening')
    return (listener.address() as AddressInfo).port
  }
  const ask = async (expression: string, id = kernel): Promise<string> => {
    const { value, exceptions } = await egress.run(id, `${TALK}\n${expression}`)
    assert.deepEqual(exceptions, [])
    return String(value?.['text/plain'])
  }
  /** None of these answers; all are asked at once. */
  const areRefused = async (
    targets: readonly (readonly [host: string, port: number, device?: string])[],
  ): Promise<void> => {
    const code = `
import json
from concurrent.futures import ThreadPoolExecutor
targets = json.loads(${JSON.stringify(JSON.stringify(targets))})
answers = list(ThreadPoolExecutor(64).map(lambda target: talk(*target[:2], device=''.join(target[2:]).encode() or None), targets))
[(target, answer) for target, answer in zip(targets, answers) if not answer.endswith('Error')]`
    assert.equal(await ask(code), '[]')
  }

  before(async () => {
    internet = await openInternet()
    const key = createKey({ name: 'agents', limits: { ...NO_LIMITS, network: 'egress' } })
    openStore({ dataDir }).addKey(key)
    const resolvConf = path.join(dataDir, 'resolv.conf')
    writeFileSync(resolvConf, `nameserver ${internet.address}\n`)
    // The host's own resolver may be none that a test can rely on.
    const withResolver = [
      'unshare',
      '--mount',
      'sh',
      '-c',
      'mount --bind "$0" /etc/resolv.conf; exec "$@"',
      resolvConf,
    ]
    start = async () => {
      server = await startServerProcess(dataDir, {}, withResolver)
      none = createApiClient(server.url, server.key)
      egress = createApiClient(server.url, `${key.accessKey}:${key.secretKey}`)
    }
    await start()
    kernel = await egress.create()
  })
  after(async () => {
    for (const listener of listeners) listener.close()
    assert.equal(await server?.end('SIGTERM'), 0)
    await internet?.close()
    rmSync(dataDir, { recursive: true, force: true })
  })

  test('a key with egress reaches public addresses, by TCP, UDP and names', async () => {
    assert.equal((await egress.info(kernel)).isolation.network, 'egress')
    assert.equal(await ask(`talk('${internet.address}', ${internet.port})`), "'internet hello'")
    assert.equal(await ask(`talk_udp('${internet.address}', ${internet.port})`), "'internet hello'")
    assert.equal(await ask(`socket.gethostbyname('some.where.example')`), `'${internet.address}'`)
    assert.equal(await ask(`talk('some.where.example', ${internet.port})`), "'internet hello'")
  })

  test('IPv6 too, once the router has told the address', async () => {
    const answer = await ask(`
import time
for _ in range(40):
    answer = talk('${internet.address6}', ${internet.port})
    if answer == 'internet hello': break
    time.sleep(0.25)
answer`)
    assert.equal(answer, "'internet hello'")
  })

  test('a key without reaches nothing', async () => {
    const id = await none.create()
    assert.equal((await none.info(id)).isolation.network, 'none')
    const { value } = await none.run(
      id,
      `${TALK}\ntalk('${internet.address}', ${internet.port}), open('/etc/resolv.conf').read()`,
    )
    assert.equal(value?.['text/plain'], "('OSError', '')")
    await none.destroy(id)
  })

  test("the host's listeners cannot be reached, whatever they listen on", async () => {
    const own = [internet.hostAddress, internet.hostAddress6]
    const ports = [Number(new URL(server.url).port)]
    for (const host of ['127.0.0.1', '::', '0.0.0.0', ...own]) ports.push(await listen(host))
    const hosts = [
      '127.0.0.1',
      '::1',
      '0.0.0.0',
      '::',
      '::ffff:10.0.2.2',
      '10.0.2.2',
      '10.0.2.3',
      'fd00::2',
      'fd00::3',
      ...own,
    ]
    const targets = hosts.flatMap((host) => ports.map((port) => [host, port] as const))
    const bound = [...own, '10.0.2.2', 'fd00::2'].flatMap((host) =>
      ports.map((port) => [host, port, 'tap0'] as const),
    )
    await areRefused([...targets, ...bound])
    for (const host of own) assert.match(await ask(`talk_udp('${host}', 53)`), /Error'$/)
  })

  test('private, link-local and metadata addresses are refused', async () => {
    const hosts = [
      '169.254.169.254',
      '10.1.2.3',
      '172.17.0.1',
      '192.168.1.1',
      '100.100.100.200',
      '224.0.0.1',
      '255.255.255.255',
    ]
    const hosts6 = [
      'fd00:ec2::254',
      'fc00::1',
      '64:ff9b::a9fe:a9fe',
      '2002:a00:1::1',
      '::ffff:169.254.169.254',
    ]
    await areRefused([...hosts, ...hosts6].map((host) => [host, 80] as const))
  })

  test('code has no power over its network', async () => {
    const attempts = `
def attempt(action):
    try: action()
    except OSError as problem: return errno.errorcode[problem.errno]
    return 'done'
import errno, os, subprocess
nft = subprocess.run(['/usr/sbin/nft', 'flush', 'ruleset'], capture_output=True).returncode
[attempt(lambda: os.open('/proc/sys/net/ipv4/ip_forward', os.O_WRONLY)), attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)), attempt(lambda: socket.socket(16, 3, 0)), nft != 0]`
    assert.equal(await ask(attempts), "['EACCES', 'EPERM', 'ENOTSUP', True]")
  })

  test('sessions do not reach each other, and nothing of them is left', async () => {
    await warmSettled(server.url)
    const before = footprint(dataDir, server.pid)
    const other = await egress.create()
    await egress.run(
      other,
      `
import socket, threading
listening = socket.create_server(('0.0.0.0', 9000))
threading.Thread(target=lambda: listening.accept()[0].sendall(b'the other'), daemon=True).start()`,
    )
    await areRefused(['10.0.2.100', '10.0.2.15', '10.0.2.2'].map((host) => [host, 9000] as const))
    await egress.destroy(other)
    assert.deepEqual(footprint(dataDir, server.pid), before)
  })

  test('it survives the server; without the process that carries its traffic a session ends', async () => {
    const cut = await egress.create()
    await egress.run(cut, 'x = 1')
    await server.end('SIGKILL')
    await start()
    assert.equal(await ask(`talk('${internet.address}', ${internet.port})`), "'internet hello'")
    await server.end('SIGKILL')
    process.kill(carrierOf(cut), 'SIGKILL')
    await start()
    assert.equal((await egress.gone(cut)).reason, 'server-shutdown')
    assert.equal(await ask(`talk('${internet.address}', ${internet.port})`), "'internet hello'")
    await egress.destroy(kernel)
    await warmSettled(server.url)
    assert.equal(footprint(dataDir, server.pid).runEntries, await readyOnes())
  })

  /** Sandboxes that are kept ready. */
  async function readyOnes(): Promise<number> {
    const text = await (await fetch(`${server.url}/metrics`)).text()
    return Number(/^cob_warm_sandboxes\{.*\} (\d+)/m.exec(text)?.[1])
  }

  /** The process that carries a session's traffic. */
  function carrierOf(id: string): number {
    return recordedSandbox(dataDir, id)?.egress?.pid ?? 0
  }
})

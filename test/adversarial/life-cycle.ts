import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { footprint } from '../support/footprint.ts'
import { until } from '../support/until.ts'
import { warmSettled } from '../support/warm.ts'
import type { Attack, Target } from './attack.ts'

const DAEMON = `
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    n = 0
    while True:
        n += 1
        with open('/tmp/alive', 'w') as file: file.write(str(n))
        time.sleep(0.01)
os.wait()
time.sleep(0.1)
open('/tmp/alive').read() != ''`

/** What the sessions of the server occupy, but for the server's descriptors, which clients' connections change. */
const occupied = async ({ server }: Target) => {
  await warmSettled(server.url)
  const { processes, cgroups, mounts, runEntries } = footprint(server.dataDir, server.pid)
  return { processes, cgroups, mounts, runEntries }
}

async function timed<T>(action: Promise<T>): Promise<number> {
  const start = performance.now()
  await action
  return performance.now() - start
}

/** Attacking the moments between the states. */
export const LIFE_CYCLE: readonly Attack[] = [
  {
    name: 'a daemon that outlives its query, then restart, then destroy',
    layers: [],
    async run({ api, kernel }) {
      const isAlive = (await api.run(kernel, DAEMON)).value?.['text/plain'] === 'True'
      const restarted = await api.call('PATCH', `/v1/kernel/${kernel}`)
      const { value } = await api.run(
        kernel,
        `
import os, time
before = open('/tmp/alive').read(); time.sleep(0.2)
before == open('/tmp/alive').read(), len([name for name in os.listdir('/proc') if name.isdigit()])`,
      )
      const stopped = value?.['text/plain'] === '(True, 2)'
      await api.run(kernel, DAEMON)
      const ms = await timed(api.destroy(kernel))
      const safe = isAlive && restarted.status === 204 && stopped && ms < 2000
      return { safe, outcome: `gone after the restart; destroyed in ${ms.toFixed(0)} ms` }
    },
  },
  {
    name: 'destroy a session full of a fork bomb',
    layers: [],
    async run({ api, kernel }) {
      void api
        .run(kernel, 'import os\nwhile True:\n    try: os.fork()\n    except OSError: pass')
        .catch(() => undefined)
      await delay(700)
      const ms = await timed(api.destroy(kernel))
      return { safe: ms < 2000, outcome: `destroyed in ${ms.toFixed(0)} ms` }
    },
  },
  {
    name: 'destroy twice during a query',
    layers: [],
    async run({ api, kernel }) {
      const running = api.run(kernel, 'print("partial", flush=True)\nimport time; time.sleep(100)')
      await until(async () => (await api.info(kernel)).status === 'busy')
      await delay(50)
      const remove = () => api.call('DELETE', `/v1/kernel/${kernel}`)
      const statuses = (await Promise.all([remove(), remove(), remove()])).map(({ status }) => status)
      const { status, reason, stdout } = await running
      const safe =
        statuses.every((each) => each === 204 || each === 404) &&
        statuses.includes(204) &&
        status === 'terminated' &&
        stdout === 'partial\n'
      return { safe, outcome: `${statuses.join(' ')}; the query: ${reason}, with its partial output` }
    },
  },
  {
    name: 'destroy during create, twenty times',
    layers: [],
    async run(target) {
      const { api, kernel } = target
      const before = await occupied(target)
      for (let i = 0; i < 20; i++) {
        const token = `race ${i} ${kernel}`
        const made = api.call<{ kernelId: string }>('POST', '/v1/kernel/create', {
          lang: 'python3',
          clientSessionToken: token,
        })
        await delay(3 * i)
        const { body } = await api.call<{ kernels: { kernelId: string; clientSessionToken: string }[] }>(
          'GET',
          '/v1/kernels',
        )
        const early = body.kernels.find((each) => each.clientSessionToken === token)
        if (early) await api.call('DELETE', `/v1/kernel/${early.kernelId}`)
        const { body: created } = await made
        await api.call('DELETE', `/v1/kernel/${created.kernelId}`)
      }
      const after = await occupied(target)
      const safe = isDeepStrictEqual(after, before)
      return { safe, outcome: safe ? 'nothing is left' : `left: ${JSON.stringify({ before, after })}` }
    },
  },
  {
    name: 'restart, run and destroy all at once',
    layers: [],
    async run({ api, kernel }) {
      const jobs = Array.from({ length: 30 }, (_, i) =>
        i % 3 === 0
          ? api.call('PATCH', `/v1/kernel/${kernel}`)
          : api.call('POST', `/v1/kernel/${kernel}`, { code: 'import time; time.sleep(0.05)' }),
      )
      await delay(100)
      jobs.push(api.call('DELETE', `/v1/kernel/${kernel}`))
      const statuses = new Set((await Promise.all(jobs)).map(({ status }) => status))
      const safe = [...statuses].every((status) => [200, 204, 404, 429].includes(status))
      return { safe, outcome: [...statuses].sort().join(' ') }
    },
  },
]

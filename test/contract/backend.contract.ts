import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { isolationSchema } from '@cob/protocol'
import type { Backend, Profile, Sandbox } from '../../packages/server/src/backend/backend.ts'

export interface BackendContractOptions {
  /** Where one backend at a time may be. */
  readonly newPlace: () => string
  /** `kept`: descriptions of sandboxes that an earlier one left there and that are to be adopted. */
  readonly makeBackend: (place: string, kept?: readonly unknown[]) => Promise<Backend>
  /** An agent that sends back every line it gets, serves one connection after another, and ends at the line `exit`. */
  readonly echo: Profile
  /** A profile that cannot be started. */
  readonly broken: Profile
}

const LIMITS = { memoryBytes: 128 * 1024 * 1024, processes: 32, cpuWeight: 100 }

/** What every backend promises: the port's comments as tests. */
export function backendContract(name: string, options: BackendContractOptions): void {
  const { echo, broken } = options
  describe(`backend contract: ${name}`, { timeout: 60_000 }, () => {
    let backend: Backend
    before(async () => {
      backend = await options.makeBackend(options.newPlace())
    })
    after(() => backend.close())
    const withSandbox = async (use: (sandbox: Sandbox) => Promise<void>): Promise<void> => {
      const sandbox = await backend.prepare(echo)
      try {
        await use(sandbox)
      } finally {
        await backend.destroy(sandbox)
      }
    }

    test('a prepared sandbox says how it is isolated', () =>
      withSandbox(async (sandbox) => {
        assert.deepEqual(isolationSchema.parse(sandbox.isolation), sandbox.isolation)
        assert.notEqual(sandbox.id, '')
      }))

    test('the agent answers on a connection made right after prepare', () =>
      withSandbox(async (sandbox) => {
        const stream = await backend.connect(sandbox)
        assert.equal(await talk(stream, 'hello'), 'hello')
        stream.destroy()
      }))

    test('after a connection closed another one can be made', () =>
      withSandbox(async (sandbox) => {
        for (const word of ['first', 'second', 'third']) {
          const stream = await backend.connect(sandbox)
          assert.equal(await talk(stream, word), word)
          stream.destroy()
        }
      }))

    test('a megabyte arrives whole', () =>
      withSandbox(async (sandbox) => {
        const stream = await backend.connect(sandbox)
        const line = 'x'.repeat(1024 * 1024)
        assert.equal(await talk(stream, line), line)
        stream.destroy()
      }))

    test('sandboxes made at once are separate', async () => {
      const sandboxes = await Promise.all([1, 2, 3].map(() => backend.prepare(echo)))
      assert.equal(new Set(sandboxes.map(({ id }) => id)).size, 3)
      const [first, ...others] = sandboxes as [Sandbox, Sandbox, Sandbox]
      await backend.destroy(first)
      for (const other of others) {
        const stream = await backend.connect(other)
        assert.equal(await talk(stream, 'still here'), 'still here')
        stream.destroy()
      }
      await Promise.all(others.map((other) => backend.destroy(other)))
    })

    test('usage counts after limits were assigned', () =>
      withSandbox(async (sandbox) => {
        await backend.assign(sandbox, LIMITS)
        const stream = await backend.connect(sandbox)
        await talk(stream, 'work')
        const usage = await backend.usage(sandbox)
        assert.ok(usage.memoryBytes > 0 && usage.memoryBytes <= LIMITS.memoryBytes, String(usage.memoryBytes))
        assert.ok(usage.cpuMs >= 0 && Number.isFinite(usage.cpuMs), String(usage.cpuMs))
        assert.ok(usage.processes >= 1 && usage.processes <= LIMITS.processes, String(usage.processes))
        assert.equal(usage.oomKills, 0)
        const peak = await backend.peakMemory(sandbox)
        assert.ok(peak >= usage.memoryBytes && peak <= LIMITS.memoryBytes, `${peak} ${usage.memoryBytes}`)
        stream.destroy()
      }))

    test('an agent that ends by itself resolves exited, and usage still answers', () =>
      withSandbox(async (sandbox) => {
        const stream = await backend.connect(sandbox)
        stream.on('error', () => {})
        stream.write('exit\n')
        await sandbox.exited
        const usage = await backend.usage(sandbox)
        assert.ok(Number.isFinite(usage.cpuMs))
        await assert.rejects(backend.connect(sandbox))
        stream.destroy()
      }))

    test('destroy closes connections, resolves exited, and may be repeated and overlap', async () => {
      const sandbox = await backend.prepare(echo)
      const stream = await backend.connect(sandbox)
      stream.on('error', () => {})
      stream.resume()
      // Not once(): a reset connection is closed as well.
      const closed = new Promise((resolve) => stream.on('close', resolve))
      await Promise.all([backend.destroy(sandbox), backend.destroy(sandbox)])
      await backend.destroy(sandbox)
      await sandbox.exited
      await closed
      await assert.rejects(backend.connect(sandbox))
      await assert.rejects(backend.assign(sandbox, LIMITS))
      await assert.rejects(backend.usage(sandbox))
    })

    test('a profile that cannot be started rejects with a reason, and the next one starts', async () => {
      await assert.rejects(backend.prepare(broken), (error: Error) => error.message.length > 10)
      await withSandbox(async () => {})
    })

    test('close destroys what lives and what is being made, and ends the backend', async () => {
      const other = await options.makeBackend(options.newPlace())
      const living = await other.prepare(echo)
      const making = other.prepare(echo).then(
        (sandbox) => sandbox.exited,
        () => {},
      )
      await Promise.all([other.close(), other.close()])
      await living.exited
      await making
      await assert.rejects(other.prepare(echo))
      await other.close()
    })

    /** What one backend left to the next one, as JSON. */
    const handOver = async (
      use: (sandboxes: readonly Sandbox[], first: Backend) => Promise<void>,
    ): Promise<{ next: Backend; described: unknown[] }> => {
      const place = options.newPlace()
      const first = await options.makeBackend(place)
      const sandboxes = [await first.prepare(echo), await first.prepare(echo)]
      for (const sandbox of sandboxes) await first.assign(sandbox, LIMITS)
      const described: unknown[] = JSON.parse(JSON.stringify(sandboxes.map((each) => first.describe(each))))
      await use(sandboxes, first)
      await first.close(sandboxes)
      return { next: await options.makeBackend(place, described), described }
    }

    test('what is kept at close can be adopted by another backend, works on, and can be destroyed', async () => {
      const before: number[] = []
      const { next, described } = await handOver(async (sandboxes, first) => {
        for (const sandbox of sandboxes) before.push((await first.usage(sandbox)).cpuMs)
      })
      const sandboxes = await Promise.all(described.map((each) => next.adopt(each)))
      for (const [index, sandbox] of sandboxes.entries()) {
        const stream = await next.connect(sandbox)
        assert.equal(await talk(stream, 'still here'), 'still here')
        stream.destroy()
        assert.ok((await next.usage(sandbox)).cpuMs >= (before[index] ?? Number.POSITIVE_INFINITY))
        await next.assign(sandbox, { ...LIMITS, processes: 16 })
        assert.deepEqual(isolationSchema.parse(sandbox.isolation), sandbox.isolation)
        // A third one could have it too.
        assert.deepEqual(Object.keys(Object(next.describe(sandbox))), Object.keys(Object(described[index])))
      }
      const [one, other] = sandboxes as [Sandbox, Sandbox]
      await next.destroy(one)
      await one.exited
      await assert.rejects(next.usage(one))
      const stream = await next.connect(other)
      stream.on('error', () => {})
      stream.write('exit\n')
      await other.exited
      assert.ok(Number.isFinite((await next.usage(other)).cpuMs))
      await next.close()
    })

    test('what ended while nobody had it has exited when it is adopted, and its figures are still there', async () => {
      const { next, described } = await handOver(async ([, dying], first) => {
        assert.ok(dying)
        const stream = await first.connect(dying)
        stream.on('error', () => {})
        stream.write('exit\n')
        await dying.exited
      })
      const [living, dead] = (await Promise.all(described.map((each) => next.adopt(each)))) as [
        Sandbox,
        Sandbox,
      ]
      await dead.exited
      await assert.rejects(next.connect(dead))
      assert.ok(Number.isFinite((await next.usage(dead)).cpuMs))
      await next.destroy(dead)
      const stream = await next.connect(living)
      assert.equal(await talk(stream, 'alive'), 'alive')
      stream.destroy()
      await next.close()
    })

    test('what was destroyed, or never was, cannot be adopted', async () => {
      const { next, described } = await handOver(async ([destroyed], first) => {
        assert.ok(destroyed)
        await first.destroy(destroyed)
      })
      const [destroyed, living] = described
      await assert.rejects(next.adopt(destroyed))
      for (const nothing of [undefined, null, {}, [], 'x', { id: '../..' }])
        await assert.rejects(next.adopt(nothing), JSON.stringify(nothing))
      await next.adopt(living)
      await next.close()
    })
  })
}

/** Sends a line and resolves with the line that comes back. */
export function talk(stream: Duplex, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const settle = (finish: () => void): void => {
      stream.off('data', onData).off('error', reject).off('close', onClose)
      finish()
    }
    const onClose = (): void => settle(() => reject(new Error('the connection closed before an answer')))
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('utf8')
      if (text.endsWith('\n')) settle(() => resolve(text.slice(0, -1)))
    }
    stream.on('data', onData).on('error', reject).on('close', onClose)
    stream.write(`${line}\n`)
  })
}

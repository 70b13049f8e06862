import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { CobError } from '../errors.ts'
import { createHoldings, type Held } from '../sessions/holdings.ts'
import { toNetwork } from './network-address.ts'

/** Largest bodies at once; half as many of one client. */
const BODIES = 64
const FIRST_BYTES = 4096

/** Bodies that are kept in memory until it is known what they say, in bounds. */
export interface Bodies {
  /** All of it. Throws `payload-too-large`, `too-much-sent`; the rest is read and forgotten then, so that the answer reaches who still sends. */
  gather(request: FastifyRequest, payload: Readable): Promise<Buffer>
  /** The bytes are not needed any more; otherwise they count until the answer has been sent. */
  release(request: FastifyRequest): void
}

/**
 * Divides the memory for bodies of at most `maxBytes` between keys, and between the addresses of those who have not proved one: a
 * signature is over the whole body, so a stranger's has to be taken too.
 */
export function createBodies(app: FastifyInstance, maxBytes: number): Bodies {
  const holdings = createHoldings(BODIES * maxBytes)
  const kept = new WeakMap<FastifyRequest, { readonly held: Held; bytes: Buffer }>()
  const release = (request: FastifyRequest): void => {
    const body = kept.get(request)
    body?.held.give(body.bytes.length)
    kept.delete(request)
  }
  app.addHook('preParsing', async (request, reply) => {
    const held = holdings.of(request.owner || `address ${toNetwork(request.ip)}`)
    kept.set(request, { held, bytes: Buffer.alloc(0) })
    reply.raw.once('close', () => release(request))
  })

  return {
    release,
    async gather(request, payload) {
      if (Number(request.headers['content-length']) > maxBytes)
        throw CobError.of('payload-too-large', { max: maxBytes })
      let size = 0
      /** Copied, because the pieces may be of a byte each, and take a hundred times their size. */
      const add = (chunk: Buffer): void => {
        const body = kept.get(request)
        const end = size + chunk.length
        if (end > maxBytes) throw CobError.of('payload-too-large', { max: maxBytes })
        // The client has gone.
        if (!body) return
        if (end > body.bytes.length) {
          const room = Math.min(maxBytes, Math.max(FIRST_BYTES, 2 * end))
          if (!body.held.take(room - body.bytes.length))
            throw CobError.of('too-much-sent', {}, { retryAfterS: 1 })
          const larger = Buffer.allocUnsafeSlow(room)
          body.bytes.copy(larger, 0, 0, size)
          body.bytes = larger
        }
        chunk.copy(body.bytes, size)
        size = end
      }
      await forEachPiece(payload, add)
      return kept.get(request)?.bytes.subarray(0, size) ?? Buffer.alloc(0)
    },
  }
}

/** Resolves at the end; rejects with what `act` throws, and calls it no more. */
function forEachPiece(payload: Readable, act: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const take = (chunk: Buffer): void => {
      try {
        act(chunk)
      } catch (error) {
        payload.off('data', take)
        reject(error)
      }
    }
    payload.on('data', take).once('end', resolve).once('error', reject)
    // Without listeners what comes is thrown away.
    payload.resume()
  })
}

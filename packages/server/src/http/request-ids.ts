import type { FastifyRequest } from 'fastify'

/** As long as an id may be. */
const MAX_ID = 64

/** What the path of a request names: a client's words, cut. */
export function idsOf({ params }: FastifyRequest): { kernelId?: string; executionId?: string } {
  // None of the routes has parameters other than strings.
  const { id, executionId } = (params ?? {}) as { id?: string; executionId?: string }
  return {
    ...(id !== undefined && { kernelId: id.slice(0, MAX_ID) }),
    ...(executionId !== undefined && { executionId: executionId.slice(0, MAX_ID) }),
  }
}

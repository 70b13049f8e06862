import type { AuditAction } from '@cob/protocol'
import type { FastifyInstance } from 'fastify'
import { CobError } from '../errors.ts'
import { every } from '../observe/every.ts'
import type { Logger } from '../observe/logger.ts'
import type { AuditRecord } from '../store/audit.ts'
import { createPatientWriter } from '../store/patient-writer.ts'
import type { Store } from '../store/store.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a request to this route is in the audit log. */
    audit?: AuditAction
  }
  interface FastifyRequest {
    /** Which key or session it is about, where the path does not say. */
    auditTarget: string | undefined
    /** `ok`, or the code of the error. */
    outcome: string
  }
}

export interface AuditOptions {
  readonly store: Pick<Store, 'addAudit'>
  readonly logger: Logger
  /** ms since the epoch */
  readonly now: () => number
}

/** Longest id that is written down, in characters: it may be whatever a client sent. */
const MAX_TARGET = 128
/** How often it is tried again to write what could not be written. */
const RETRY_MS = 1000

/** Writes down what is done by routes with `config.audit`, whatever came of it, once it is known who did it; what cannot be written, when it can. */
export function keepAudit(app: FastifyInstance, { store, logger, now }: AuditOptions): void {
  const records = createPatientWriter<AuditRecord>((record) => store.addAudit(record), {
    logger,
    what: 'An entry of the audit log',
  })
  const retry = every({ ms: RETRY_MS, what: 'Writing the audit log', logger }, records.sweep)
  app.decorateRequest('auditTarget', undefined)
  app.decorateRequest('outcome', 'ok')
  app.addHook('onError', async (request, _reply, error) => {
    request.outcome = error instanceof CobError ? error.code : 'internal'
  })
  app.addHook('onResponse', async (request) => {
    const action = request.routeOptions.config.audit
    if (action === undefined || request.owner === '') return
    // Every audited route names what it is about so, or not at all.
    const { id, accessKey } = (request.params ?? {}) as { id?: string; accessKey?: string }
    const target = request.auditTarget ?? id ?? accessKey ?? null
    records.write({
      at: now(),
      who: request.owner,
      action,
      target: target?.slice(0, MAX_TARGET) ?? null,
      requestId: request.id,
      outcome: request.outcome,
    })
  })
  app.addHook('onClose', async () => {
    retry.close()
    records.close()
  })
}

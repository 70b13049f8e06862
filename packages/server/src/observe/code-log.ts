import type { Logger } from './logger.ts'
import type { Observer } from './observer.ts'

/** Characters of stdout, and of stderr, that are logged. */
const MAX_OUTPUT = 16_384

/** Logs the code that sessions run and what it put out. Only for who has asked for that: it may be anything. */
export function createCodeLog(logger: Logger): Partial<Observer> {
  return {
    submitted: ({ kernelId }, { id, code }) =>
      logger.info({ kernelId, executionId: id, code }, 'Code was submitted.'),
    executed({ kernelId }, execution, outcome) {
      const { stdout, stderr } = execution.describe()
      logger.info(
        {
          kernelId,
          executionId: execution.id,
          outcome,
          stdout: stdout.slice(0, MAX_OUTPUT),
          stderr: stderr.slice(0, MAX_OUTPUT),
        },
        'Code has ended.',
      )
    },
  }
}

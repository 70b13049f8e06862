import type { Readable } from 'node:stream'
import type { TerminalSize } from '@cob/protocol'
import type { AgentStream } from '../channel/agent-stream.ts'
import { CobError } from '../errors.ts'

/** Of one session at once. */
const MAX_TERMINALS = 8

/** A shell in a session's sandbox, on a terminal of its own. */
export interface Terminal {
  /** What the terminal shows. Ends with the shell; fails when the shell was taken away. */
  readonly output: Readable
  /** Of the shell, once `output` has ended: 128 and the signal's number where one ended it. Undefined before, and where nobody knows. */
  readonly exitStatus: number | undefined
  /** What is typed. Resolves when more may be; rejects when nobody is there to read it. */
  type(bytes: Uint8Array): Promise<void>
  resize(size: TerminalSize): void
  /** Idempotent. Hangs up: what runs in the terminal gets SIGHUP. */
  close(): void
}

export interface TerminalsOptions {
  readonly kernelId: string
  /** Opens a connection to the agent. */
  readonly openStream: () => Promise<AgentStream>
  readonly onUse: () => void
}

/** Opens terminals of one session. Throws `too-many-terminals` and what `openStream` does. */
export type OpenTerminal = (size: TerminalSize) => Promise<Terminal>

export function createTerminals({ kernelId, openStream, onUse }: TerminalsOptions): OpenTerminal {
  let count = 0
  return async (size) => {
    if (count >= MAX_TERMINALS) throw CobError.of('too-many-terminals', { id: kernelId, count })
    count++
    const stream = await openStream().catch((error) => {
      count--
      throw error
    })
    onUse()
    let exitStatus: number | undefined
    const output = stream
      .download('terminal', size, ({ exit }) => {
        exitStatus = toExitStatus(exit)
      })
      .once('close', () => {
        count--
        stream.close()
      })
    return {
      output,
      get exitStatus() {
        return exitStatus
      },
      type(bytes) {
        onUse()
        return stream.write(bytes)
      },
      resize: (next) => stream.notify('resize', next),
      // Without an error: that nobody wants it any more is no failure of the shell's.
      close: () => void output.destroy(),
    }
  }
}

/** The agent says a signal as a negative number. */
function toExitStatus(exit: unknown): number | undefined {
  if (!Number.isInteger(exit) || Math.abs(Number(exit)) > 255) return undefined
  return Number(exit) < 0 ? 128 - Number(exit) : Number(exit)
}

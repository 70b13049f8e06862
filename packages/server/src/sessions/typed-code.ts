import {
  type Completion,
  completionSchema,
  type Inspection,
  inspectionSchema,
  type Question,
} from '@cob/protocol'

/** Asks the interpreter, whose answer may be anything: code that it ran can have changed it. */
type Ask = (code: string, cursor: number) => Promise<unknown>

export async function complete({ code, cursor }: Question, ask: Ask): Promise<Completion> {
  const at = placeOf(code, cursor)
  const answer = completionSchema.safeParse(await ask(code, at))
  return answer.success ? answer.data : { matches: [], start: at, end: at }
}

export async function inspect({ code, cursor }: Question, ask: Ask): Promise<Inspection> {
  const answer = inspectionSchema.safeParse(await ask(code, placeOf(code, cursor)))
  return answer.success ? answer.data : { found: false, data: {} }
}

/** A cursor counts Unicode characters; absent, or beyond the end, it is the end. */
function placeOf(code: string, cursor: number | undefined): number {
  const length = [...code].length
  return Math.min(cursor ?? length, length)
}

import type { ExecutionEvent } from '@cob/protocol'

export interface EventsRequest {
  readonly url: string
  readonly key: string
  readonly kernel: string
}

/** Starts code and gives its events as they come. */
export async function runEvents(
  { url, key, kernel }: EventsRequest,
  code: string,
  signal?: AbortSignal,
): Promise<{ executionId: string; events: AsyncGenerator<ExecutionEvent> }> {
  const response = await fetch(`${url}/v1/kernel/${kernel}`, {
    method: 'POST',
    headers: headersOf(key, { 'content-type': 'application/json' }),
    body: JSON.stringify({ code }),
    ...(signal && { signal }),
  })
  return { executionId: response.headers.get('x-execution-id') ?? '', events: parseLines(response) }
}

/** The events of an execution, those after number `after`. */
export async function* resumeEvents(
  { url, key, kernel }: EventsRequest,
  executionId: string,
  after: number | undefined,
  signal?: AbortSignal,
): AsyncGenerator<ExecutionEvent> {
  const response = await fetch(`${url}/v1/kernel/${kernel}/executions/${executionId}/events`, {
    headers: headersOf(key, after === undefined ? {} : { 'last-event-id': String(after) }),
    ...(signal && { signal }),
  })
  yield* parseLines(response)
}

/** All of them. */
export async function collect(events: AsyncIterable<ExecutionEvent>): Promise<ExecutionEvent[]> {
  const collected: ExecutionEvent[] = []
  for await (const event of events) collected.push(event)
  return collected
}

function headersOf(key: string, others: Record<string, string>): Record<string, string> {
  return { authorization: `Bearer ${key}`, accept: 'application/x-ndjson', ...others }
}

async function* parseLines(response: Response): AsyncGenerator<ExecutionEvent> {
  if (response.status !== 200 || !response.body)
    throw new Error(`${response.status}: ${await response.text()}`)
  let rest = ''
  for await (const chunk of response.body) {
    const lines = (rest + Buffer.from(chunk).toString('latin1')).split('\n')
    rest = lines.pop() ?? ''
    // The tests are about what these lines are.
    for (const line of lines) yield JSON.parse(line) as ExecutionEvent
  }
}

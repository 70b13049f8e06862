import type { KernelInfo, Problem, RunResult } from '@cob/protocol'

export interface Answer<T> {
  readonly status: number
  readonly headers: Headers
  readonly body: T
}

/** The few calls the tests make all the time; all but `call` throw unless they succeed. */
export interface ApiClient {
  call<T = Problem>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer<T>>
  /** Creates a python3 kernel, or what `request` says, and returns its id. */
  create(request?: Record<string, unknown>): Promise<string>
  run(kernelId: string, code: string, headers?: Record<string, string>, codeId?: string): Promise<RunResult>
  info(kernelId: string): Promise<KernelInfo>
  destroy(kernelId: string): Promise<void>
  /** Polls until the kernel is gone; the problem document then tells why. */
  gone(kernelId: string): Promise<Problem>
}

export function createApiClient(url: string, key: string): ApiClient {
  const call = async <T>(
    method: string,
    target: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> => {
    const hasBody = body !== undefined
    const response = await fetch(url + target, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(hasBody ? { 'content-type': 'application/json' } : {}),
        ...headers,
      },
      ...(hasBody ? { body: typeof body === 'string' ? body : JSON.stringify(body) } : {}),
    })
    const text = await response.text()
    // The caller says which of the API's bodies it expects.
    return {
      status: response.status,
      headers: response.headers,
      body: (text === '' ? undefined : JSON.parse(text)) as T,
    }
  }
  const expect = async <T>(status: number, answer: Promise<Answer<T>>): Promise<T> => {
    const { status: got, body } = await answer
    if (got !== status) throw new Error(`expected ${status}, got ${got}: ${JSON.stringify(body)}`)
    return body
  }
  return {
    call,
    async create(request = {}) {
      const body = { lang: 'python3', ...request }
      return (await expect(201, call<{ kernelId: string }>('POST', '/v1/kernel/create', body))).kernelId
    },
    async run(kernelId, code, headers = {}, codeId) {
      const body = { code, ...(codeId === undefined ? {} : { codeId }) }
      return (await expect(200, call<{ result: RunResult }>('POST', `/v1/kernel/${kernelId}`, body, headers)))
        .result
    },
    info: (kernelId) => expect(200, call<KernelInfo>('GET', `/v1/kernel/${kernelId}`)),
    async destroy(kernelId) {
      await expect(204, call<undefined>('DELETE', `/v1/kernel/${kernelId}`))
    },
    async gone(kernelId) {
      for (const giveUpAt = performance.now() + 20_000; performance.now() < giveUpAt; ) {
        const { status, body } = await call<Problem>('GET', `/v1/kernel/${kernelId}`)
        if (status === 404) return body
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      throw new Error(`kernel ${kernelId} is still there`)
    },
  }
}

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import type { Problem } from '@cob/protocol'
import { WebSocket } from 'ws'
import { type ApiClient, createApiClient } from '../../support/api-client.ts'
import { document } from '../../support/fuzz-requests.ts'
import { type HttpFixture, KEY, startHttp } from '../../support/http-fixture.ts'

/** A key, and what it owns. */
interface Party {
  readonly accessKey: string
  readonly client: ApiClient
  readonly kernelId: string
  readonly executionId: string
}

/** What a request has to say to be understood, by the end of its operation; without, it needs no body. */
const SAID: readonly { readonly of: RegExp; readonly type: string; readonly body: unknown }[] = [
  { of: /^POST .*\/kernel\/\{id\}$/, type: 'application/json', body: { code: 'print x' } },
  { of: /\/input$/, type: 'application/json', body: { text: 'x' } },
  { of: /\/(complete|inspect)$/, type: 'application/json', body: { code: 'x' } },
  { of: /^PUT /, type: 'application/octet-stream', body: 'stolen' },
  { of: /\/upload$/, type: 'multipart/form-data; boundary=b', body: '--b--\r\n' },
]
const TOKEN = 'the same for both'

let http: HttpFixture
let parties: readonly [Party, Party]
before(async () => {
  http = await startHttp()
  const join = async (accessKey: string): Promise<Party> => {
    const client = createApiClient(http.url, `${accessKey}:${KEY.secretKey}`)
    const kernelId = await client.create({ lang: 'fake', clientSessionToken: TOKEN })
    await client.call('PUT', `/v1/kernel/${kernelId}/files/a.txt`, 'x', {
      'content-type': 'application/octet-stream',
    })
    // It waits for input, so that every route would have something to do.
    const { executionId } = await client.run(kernelId, 'ask who?', { prefer: 'wait=1' })
    return { accessKey, client, kernelId, executionId }
  }
  parties = [await join(KEY.accessKey), await join('AKIAOTHER')]
})
after(() => http.close())

/** Of every operation that needs a key, as the document names it. */
const OPERATIONS: readonly string[] = Object.entries(document.paths)
  .flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => !('security' in operation))
      .map(([method]) => `${method.toUpperCase()} ${path}`),
  )
  .sort()
const IS_ABOUT_OTHERS = /\{id\}|\/v1\/admin/
const targetOf = (path: string, other: Party): string =>
  path
    .replace('{id}', other.kernelId)
    .replace('{executionId}', other.executionId)
    .replace('{accessKey}', other.accessKey)
    .replace('{path}', 'a.txt')

/** What `mine` gets for a request that names what is the other's. */
async function attempt(name: string, mine: Party, other: Party): Promise<{ status: number; code: string }> {
  const [method = '', path = ''] = name.split(' ')
  const said = SAID.find(({ of }) => of.test(name))
  const accept = path.endsWith('/events') ? { accept: 'application/x-ndjson' } : {}
  const { status, body } = await mine.client.call<Problem | undefined>(
    method,
    targetOf(path, other),
    said?.body,
    said ? { 'content-type': said.type } : accept,
  )
  return { status, code: body?.code ?? '' }
}

test('whatever a key tries with the ids of another, of every route there is, it gets 404 or 403', async () => {
  const rows: string[][] = []
  const [first, second] = parties
  for (const name of OPERATIONS.filter((each) => IS_ABOUT_OTHERS.test(each))) {
    const answers = [await attempt(name, first, second), await attempt(name, second, first)]
    rows.push([name, ...answers.map(({ status, code }) => `${status} ${code}`)])
    for (const { status } of answers)
      assert.ok(status === 404 || status === 403, `${rows.at(-1)?.join('  ')}`)
  }
  console.log(toTable(['route', `${first.accessKey} -> other's`, `${second.accessKey} -> other's`], rows))
  assert.ok(rows.length >= 30, `${rows.length} routes were tried`)
})

test('routes without an id tell a key nothing of another', async () => {
  const rows: string[][] = []
  const [first, second] = parties
  for (const name of OPERATIONS.filter((each) => !IS_ABOUT_OTHERS.test(each))) {
    const [method = '', path = ''] = name.split(' ')
    for (const [mine, other] of [
      [first, second],
      [second, first],
    ] as const) {
      const body = name.endsWith('/create') ? { lang: 'fake', clientSessionToken: TOKEN } : undefined
      // Fetch sends no body with GET: authorize has nothing to tell then.
      const answer = await mine.client.call<unknown>(method, path, body)
      const text = JSON.stringify(answer.body)
      for (const theirs of [other.kernelId, other.executionId, other.accessKey])
        assert.ok(!text.includes(theirs), `${name} tells ${theirs}`)
      if (name.endsWith('/create'))
        assert.ok(text.includes(mine.kernelId), 'the same token is another kernel')
      rows.push([name, mine.accessKey, String(answer.status)])
    }
  }
  console.log(toTable(['route', 'key', 'answer'], rows))
})

test("a WebSocket of another key's session is refused before it is one", async () => {
  const [first, second] = parties
  for (const stream of ['pty', 'events']) {
    const url = `${http.url.replace('http', 'ws')}/v1/stream/kernel/${second.kernelId}/${stream}`
    const socket = new WebSocket(url, {
      headers: { authorization: `Bearer ${first.accessKey}:${KEY.secretKey}` },
    })
    const [error] = (await once(socket, 'error')) as [Error]
    assert.match(error.message, /Unexpected server response: 404/)
  }
})

test('after all of it the other still has what it had', async () => {
  for (const { client, kernelId, executionId } of parties) {
    const { body } = await client.call<{ result: { status: string } }>(
      'GET',
      `/v1/kernel/${kernelId}/executions/${executionId}`,
    )
    assert.equal(JSON.stringify(body).includes('waiting-input'), true)
    assert.equal((await client.info(kernelId)).status, 'waiting-input')
  }
})

function toTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]?.length ?? 0)))
  return [head, ...rows].map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')).join('\n')
}

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { after, before, beforeEach, test } from 'node:test'
import type { Problem } from '@cob/protocol'
import { sign } from '../../packages/server/src/http/signature.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

let server: TestServer
let kernel: string
before(async () => {
  server = await startServer({ COB_MAX_UPLOAD_BYTES: '300000000' })
})
after(() => server.close())
beforeEach(async () => {
  kernel = await server.create({ clientSessionToken: 'the session of these tests' })
})

function call(method: string, path: string, body?: Body, headers = {}): Promise<Response> {
  return fetch(`${server.url}/v1/kernel/${kernel}/${path}`, {
    method,
    headers: { authorization: `Bearer ${server.key}`, ...headers },
    body: body ?? null,
  })
}
type Body = string | Buffer | FormData
const problem = async (response: Response): Promise<Problem> => (await response.json()) as Problem
const put = (path: string, body: string | Buffer): Promise<Response> => call('PUT', `files/${path}`, body)

test('a file is written, seen by code, changed by code and read back', async () => {
  const created = await put('data/in.txt', 'hello')
  assert.deepEqual([created.status, await created.json()], [201, { path: 'data/in.txt', size: 5 }])
  await server.run(kernel, "text = open('data/in.txt').read()\nopen('data/out.txt', 'w').write(text.upper())")
  const read = await call('GET', 'files/data/out.txt')
  assert.equal(await read.text(), 'HELLO')
  assert.equal(read.headers.get('content-length'), '5')
  assert.equal(read.headers.get('accept-ranges'), 'bytes')
  assert.equal((await put('data/in.txt', 'again')).status, 200)
})

test('names with spaces, other scripts and percent signs work', async () => {
  for (const name of ['a b', 'übung/ćć', '100%', '%2e%2e', '#?&', '😀', '-rf', '.hidden']) {
    const encoded = name.split('/').map(encodeURIComponent).join('/')
    assert.equal((await put(encoded, name)).status, 201, name)
    assert.equal(await (await call('GET', `files/${encoded}`)).text(), name)
    const { value } = await server.run(kernel, `open(${JSON.stringify(name)}).read()`)
    assert.equal(value?.['text/plain'], name.includes("'") ? `"${name}"` : `'${name}'`)
  }
})

test('a part of a file is read by Range, and an interrupted download goes on', async () => {
  await put('letters', 'abcdefghij')
  for (const [range, status, text] of [
    ['bytes=2-4', 206, 'cde'],
    ['bytes=7-', 206, 'hij'],
    ['bytes=-3', 206, 'hij'],
    ['bytes=8-100', 206, 'ij'],
    ['bytes=-100', 206, 'abcdefghij'],
    ['bytes=4-2', 200, 'abcdefghij'],
    ['bytes=0-1,3-4', 200, 'abcdefghij'],
    ['lines=1-2', 200, 'abcdefghij'],
  ] as const) {
    const response = await call('GET', 'files/letters', undefined, { range })
    assert.deepEqual([response.status, await response.text()], [status, text], range)
  }
  const etag = (await call('HEAD', 'files/letters')).headers.get('etag') ?? ''
  const resumed = await call('GET', 'files/letters', undefined, { range: 'bytes=5-', 'if-range': etag })
  assert.deepEqual(
    [resumed.status, resumed.headers.get('content-range'), await resumed.text()],
    [206, 'bytes 5-9/10', 'fghij'],
  )
  assert.equal((await call('GET', 'files/letters', undefined, { 'if-none-match': etag })).status, 304)
  await put('letters', '0123456789')
  const changed = await call('GET', 'files/letters', undefined, { range: 'bytes=5-', 'if-range': etag })
  assert.deepEqual([changed.status, await changed.text()], [200, '0123456789'])
  const beyond = await call('GET', 'files/letters', undefined, { range: 'bytes=10-' })
  assert.deepEqual([beyond.status, beyond.headers.get('content-range')], [416, 'bytes */10'])
})

test('a folder is listed with sizes and times', async () => {
  await put('listed/a', '12')
  await put('listed/b/c', '')
  const before = Date.now()
  for (const path of ['files/listed', 'files/listed/']) {
    const {
      path: named,
      entries,
      truncated,
    } = (await (await call('GET', path)).json()) as {
      path: string
      entries: { name: string; type: string; size: number; modified: number }[]
      truncated: boolean
    }
    assert.deepEqual([named, truncated], ['listed', false])
    assert.deepEqual(
      entries.map(({ name, type }) => `${name} ${type}`),
      ['a file', 'b folder'],
    )
    assert.equal(entries[0]?.size, 2)
    assert.ok(Math.abs((entries[0]?.modified ?? 0) - before) < 60_000)
  }
})

test('files of any time are listed, read and archived, with a date that HTTP knows', async () => {
  const times = {
    far: '2 ** 62',
    late: '8_640_000_000_001',
    later: '2 ** 53',
    old: '-(2 ** 62)',
    now: '1_700_000_000',
  }
  await server.run(
    kernel,
    Object.entries(times)
      .map(
        ([name, time]) =>
          `open('${name}', 'w').close(); __import__('os').utime('${name}', (${time}, ${time}))`,
      )
      .join('\n'),
  )
  const listed = await call('GET', 'files')
  const { entries } = (await listed.json()) as { entries: { name: string; modified: number }[] }
  const modified = Object.fromEntries(entries.map((entry) => [entry.name, entry.modified]))
  for (const name of Object.keys(times)) {
    const read = await call('GET', `files/${name}`)
    assert.equal(read.status, 200, name)
    const date = read.headers.get('last-modified') ?? ''
    assert.match(date, /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/)
    assert.equal(date, new Date(modified[name] ?? 0).toUTCString())
  }
  assert.equal(modified.now, 1_700_000_000_000)
  const archive = await call('GET', 'files', undefined, { accept: 'application/x-tar' })
  assert.ok((await archive.arrayBuffer()).byteLength > 5 * 512)
})

test('however a URL is written, its path is that of the file', async () => {
  await put('m4', 'the file')
  const { host } = new URL(server.url)
  for (const path of [
    `/v1/kernel/${kernel}/%66iles/m4`,
    `/v1/%6bernel/${kernel}/files/%6d4`,
    `http://${host}/v1/kernel/${kernel}/files/m4`,
    `/v1/kernel/${kernel}/files/m4/?a=/files/b`,
  ]) {
    const sent = request(server.url, { path, headers: { authorization: `Bearer ${server.key}` } }).end()
    const [answer] = await once(sent, 'response')
    assert.equal((await answer.setEncoding('utf8').toArray()).join(''), 'the file', path)
  }
})

test('a folder comes as an archive that tar(1) reads', async () => {
  await put('tree/some file', 'content')
  await put(`tree/${'deep/'.repeat(40)}file`, 'deep')
  const archive = Buffer.from(
    await (await call('GET', 'files/tree', undefined, { accept: 'application/x-tar' })).arrayBuffer(),
  )
  const list = execFileSync('tar', ['-tf', '-'], { input: archive, encoding: 'utf8' })
  assert.match(list, /^tree\/some file$/m)
  assert.match(list, new RegExp(`^tree/${'deep/'.repeat(40)}file$`, 'm'))
  assert.equal(
    execFileSync('tar', ['-xOf', '-', 'tree/some file'], { input: archive, encoding: 'utf8' }),
    'content',
  )
})

test('many files come in one upload', async () => {
  const form = new FormData()
  for (let index = 0; index < 100; index++)
    form.append('files', new Blob([`file ${index}`]), `many/${index}.txt`)
  form.append('files', new Blob([Buffer.alloc(3_000_000, 7)]), 'many/large.bin')
  const response = await call('POST', 'upload', form)
  const { files } = (await response.json()) as { files: { path: string; size: number }[] }
  assert.deepEqual([response.status, files.length], [201, 101])
  assert.deepEqual(files.at(-1), { path: 'many/large.bin', size: 3_000_000 })
  const { value } = await server.run(kernel, "import os; len(os.listdir('many')), open('many/42.txt').read()")
  assert.equal(value?.['text/plain'], "(101, 'file 42')")
})

test('an upload that is refused half-way tells what it has written', async () => {
  const form = new FormData()
  form.append('files', new Blob(['1']), 'half/first')
  form.append('files', new Blob(['2']), '../second')
  const response = await call('POST', 'upload', form)
  const body = (await response.json()) as Problem & { files: unknown }
  assert.deepEqual(
    [response.status, body.code, body.files],
    [400, 'malformed-path', [{ path: 'half/first', size: 1 }]],
  )
  const plain = await call('POST', 'upload', 'x')
  assert.deepEqual([plain.status, (await problem(plain)).code], [415, 'unsupported-upload'])
  const cut = '--b\r\nContent-Disposition: form-data; name="f"; filename="cut"\r\n\r\nx'
  const torn = await call('POST', 'upload', cut, { 'content-type': 'multipart/form-data; boundary=b' })
  assert.deepEqual([torn.status, (await problem(torn)).code], [400, 'malformed-upload'])
  assert.equal((await call('GET', 'files/cut')).status, 404)
})

test('files and folders are removed', async () => {
  await put('gone/a/b', 'x')
  assert.equal((await call('DELETE', 'files/gone/a/b')).status, 204)
  assert.equal((await call('DELETE', 'files/gone')).status, 204)
  assert.equal((await call('DELETE', 'files/gone')).status, 404)
  assert.equal((await call('DELETE', 'files')).status, 405)
})

test('what stands in the way is named', async () => {
  await put('a-file', 'x')
  await put('a-folder/x', 'x')
  for (const [method, path, status, code] of [
    ['PUT', 'a-folder', 409, 'file-conflict'],
    ['PUT', 'a-file/below', 409, 'file-conflict'],
    ['GET', 'a-file/below', 409, 'file-conflict'],
    ['GET', 'nothing', 404, 'no-such-file'],
  ] as const) {
    const response = await call(method, `files/${path}`, method === 'PUT' ? 'x' : undefined)
    assert.deepEqual([response.status, (await problem(response)).code], [status, code], `${method} ${path}`)
  }
})

test('what does not fit is refused with numbers, and the session lives on', async () => {
  const small = await server.create({ resourceLimits: { maxMem: 65_536 } })
  await server.run(small, 'x = 42')
  const url = `${server.url}/v1/kernel/${small}/files/large`
  const headers = { authorization: `Bearer ${server.key}` }
  const large = Buffer.alloc(80_000_000)
  const told = await fetch(url, { method: 'PUT', headers, body: large })
  const first = (await told.json()) as Problem & { freeBytes: number; neededBytes: number }
  assert.deepEqual([told.status, first.code, first.neededBytes], [507, 'no-space', 80_000_000])
  assert.ok(first.freeBytes > 20_000_000 && first.freeBytes < 65_536 * 1024, `${first.freeBytes}`)
  // As much as it said fits.
  const fitting = await fetch(url, {
    method: 'PUT',
    headers,
    body: large.subarray(0, first.freeBytes - 1_000_000),
  })
  assert.equal(fitting.status, 201)
  assert.equal((await server.run(small, 'x')).value?.['text/plain'], '42')
  const tooLarge = await put('huge', Buffer.alloc(300_000_001))
  assert.deepEqual([tooLarge.status, (await problem(tooLarge)).code], [413, 'upload-too-large'])
  await server.destroy(small)
})

test('a broken upload leaves nothing behind', async () => {
  const { hostname, port } = new URL(server.url)
  const headers = { authorization: `Bearer ${server.key}`, 'content-length': 1000 }
  const path = `/v1/kernel/${kernel}/files/broken`
  const outgoing = request({ hostname, port, path, method: 'PUT', headers }).on('error', () => {})
  outgoing.write('half')
  const lists = "any(name.startswith('.cob-upload-') for name in __import__('os').listdir('.'))"
  const becomes = (expected: string): Promise<void> =>
    until(async () => (await server.run(kernel, lists)).value?.['text/plain'] === expected)
  await becomes('True')
  outgoing.destroy()
  await becomes('False')
  assert.equal((await call('GET', 'files/broken')).status, 404)
})

test('files of a session are there after a restart, and gone with it', async () => {
  await put('kept', 'x')
  assert.equal((await server.call('PATCH', `/v1/kernel/${kernel}`)).status, 204)
  assert.equal(await (await call('GET', 'files/kept')).text(), 'x')
  await server.destroy(kernel)
  const gone = await call('GET', 'files/kept')
  assert.deepEqual([gone.status, (await problem(gone)).code], [404, 'kernel-gone'])
})

test('a download ends with its session, and not as if it were whole', async () => {
  const doomed = await server.create()
  await server.run(doomed, "open('large', 'wb').truncate(200_000_000)")
  const { hostname, port } = new URL(server.url)
  const headers = { authorization: `Bearer ${server.key}` }
  const outgoing = request({ hostname, port, path: `/v1/kernel/${doomed}/files/large`, headers }).end()
  const [response] = await once(outgoing, 'response')
  response.pause()
  await server.destroy(doomed)
  const end = new Promise((resolve) => {
    response.once('end', () => resolve('whole'))
    response.once('error', () => resolve('cut'))
  })
  response.resume()
  assert.equal(await end, 'cut')
})

test("another key's files do not exist, and without a key there are none", async () => {
  await put('mine', 'x')
  const anonymous = await fetch(`${server.url}/v1/kernel/${kernel}/files/mine`)
  assert.equal(anonymous.status, 401)
  const nobody = await fetch(`${server.url}/v1/kernel/TSSJT2Z4SnmQhxjWMnJljg/files/mine`, {
    headers: { authorization: `Bearer ${server.key}` },
  })
  assert.equal(nobody.status, 404)
})

test('a signed request writes a file, and its signature covers the content', async () => {
  const [accessKey = '', secretKey = ''] = server.key.split(':')
  const { host } = new URL(server.url)
  const target = `/v1/kernel/${kernel}/files/signed`
  const date = new Date().toISOString()
  const version = 'v1.20160915'
  const body = Buffer.from('signed content')
  const day = date.slice(0, 10).replaceAll('-', '')
  const signature = sign({ method: 'PUT', target, host, version, body, date }, secretKey, day)
  const headers = {
    authorization: `Sorna signMethod=HMAC-SHA256, credential=${accessKey}:${signature}`,
    'x-sorna-version': version,
    'x-sorna-date': date,
  }
  const forged = await fetch(server.url + target, { method: 'PUT', headers, body: 'other content' })
  assert.equal(forged.status, 401)
  const signed = await fetch(server.url + target, { method: 'PUT', headers, body })
  assert.equal(signed.status, 201)
  assert.equal(await (await call('GET', 'files/signed')).text(), 'signed content')
  const large = await fetch(server.url + target, { method: 'PUT', headers, body: Buffer.alloc(5_000_000) })
  assert.deepEqual([large.status, (await problem(large)).code], [413, 'payload-too-large'])
})

test('100 MB go in and out unchanged', async () => {
  const content = Buffer.alloc(100_000_000)
  for (let at = 0; at < content.length; at += 4) content.writeUInt32LE((at * 2654435761) >>> 0, at)
  assert.equal((await put('large', content)).status, 201)
  const sum = createHash('sha256').update(content).digest('hex')
  const { value } = await server.run(
    kernel,
    "import hashlib; hashlib.sha256(open('large', 'rb').read()).hexdigest()",
  )
  assert.equal(value?.['text/plain'], `'${sum}'`)
  const read = createHash('sha256')
  for await (const chunk of (await call('GET', 'files/large')).body ?? []) read.update(chunk)
  assert.equal(read.digest('hex'), sum)
})

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Completion, Inspection } from '@cob/protocol'
import { collect, runEvents } from '../support/events.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
before(async () => {
  server = await startServer()
})
after(() => server.close())

const ask = async <T>(kernel: string, what: 'complete' | 'inspect', code: string, cursor?: number) =>
  (
    await server.call<T>('POST', `/v1/kernel/${kernel}/${what}`, {
      code,
      ...(cursor !== undefined && { cursor }),
    })
  ).body
const complete = async (kernel: string, code: string, cursor?: number): Promise<string[]> =>
  (await ask<Completion>(kernel, 'complete', code, cursor)).matches.map(({ text }) => text)

test('completion knows live objects, modules, keywords, and counts characters', async () => {
  const kernel = await server.create()
  await server.run(
    kernel,
    'class Grüße:\n    hallo = 1\n    def halten(self): pass\nwert = Grüße()\nimport os.path',
  )
  assert.deepEqual(await ask<Completion>(kernel, 'complete', '"😀"; wert.hal + 1', 13), {
    matches: [
      { text: 'hallo', type: 'instance' },
      { text: 'halten', type: 'function' },
    ],
    start: 10,
    end: 13,
  })
  assert.deepEqual(await complete(kernel, 'Grü'), ['Grüße'])
  assert.deepEqual(await complete(kernel, 'x = 1\nwhil'), ['while'])
  assert.deepEqual(await complete(kernel, 'os.path.basena'), ['basename'])
  assert.ok((await complete(kernel, 'import jso')).includes('json'))
  assert.ok((await complete(kernel, 'from os.path import ba, spl')).includes('splitext'))
  assert.deepEqual(await complete(kernel, 'nothing.at.all'), [])
  assert.deepEqual(await complete(kernel, ''.padEnd(1000, '(')), await complete(kernel, ''))
})

test('inspection tells of signature, type, file and documentation', async () => {
  const kernel = await server.create()
  await server.run(kernel, 'def twice(n: int) -> int:\n    """Doubles."""\n    return 2 * n\nx = twice')
  for (const [code, cursor] of [
    ['twice', 2],
    ['x(', undefined],
    ['1 + x', 4],
  ] as const) {
    const { found, data } = await ask<Inspection>(kernel, 'inspect', code, cursor)
    assert.ok(found)
    assert.match(
      String(data['text/plain']),
      /^twice\(n: int\) -> int\nType: function\nFile: <execution 1>\n\nDoubles\.$/,
    )
  }
  assert.deepEqual(await ask<Inspection>(kernel, 'inspect', 'nothing'), { found: false, data: {} })
})

test('attributes that are code and never come back do not hold up questions for ever, nor the session', async () => {
  const kernel = await server.create()
  await server.run(
    kernel,
    'class Slow:\n    @property\n    def x(self):\n        while True: pass\ns = Slow()',
  )
  assert.deepEqual(await complete(kernel, 's.x.'), [])
  assert.equal((await server.run(kernel, '1 + 1')).value?.['text/plain'], '2')
})

test('what cannot be asked now, or of this kernel type, is told so', async () => {
  const kernel = await server.create()
  const running = server.run(kernel, 'input()', { prefer: 'wait=5' })
  await running
  const busy = await server.call('POST', `/v1/kernel/${kernel}/complete`, { code: 'x' })
  assert.deepEqual([busy.status, busy.body.code], [409, 'kernel-busy'])
  const lua = await server.create({ lang: 'lua' })
  const missing = await server.call('POST', `/v1/kernel/${lua}/inspect`, { code: 'x' })
  assert.deepEqual([missing.status, missing.body.code], [400, 'feature-missing'])
})

test('a display is updated in place, and output is cleared', async () => {
  const kernel = await server.create()
  const code = [
    'handle = display("one", display_id="a")',
    'display("two")',
    'handle.update("three")',
    'print("gone")',
  ].join('\n')
  const { events } = await runEvents({ url: server.url, key: server.key, kernel }, code)
  const displays = (await collect(events)).flatMap((event) =>
    event.type === 'display' ? [[event.data['text/plain'], event.displayId, event.update]] : [],
  )
  assert.deepEqual(displays, [
    ["'one'", 'a', undefined],
    ["'two'", undefined, undefined],
    ["'three'", 'a', true],
  ])
  const { media, stdout } = await server.run(kernel, code)
  assert.deepEqual(
    media.map(([, content]) => content),
    ["'three'", "'two'"],
  )
  assert.equal(stdout, 'gone\n')
  const cleared = await server.run(
    kernel,
    'from IPython.display import clear_output\nprint("a")\nclear_output()\nprint("b")',
  )
  assert.equal(cleared.stdout, 'b\n')
  const later = await server.run(kernel, 'print("a")\nclear_output(wait=True)\nimport time\nprint("b")')
  assert.equal(later.stdout, 'b\n')
})

test("IPython's displays show where IPython is only installed", async () => {
  const kernel = await server.create()
  const { media } = await server.run(
    kernel,
    `
from IPython.display import display, update_display, HTML, Image, Markdown, SVG, JSON, Latex, Math
display(HTML("<b>h</b>"), Markdown("*m*"), Latex("$l$"), SVG("<svg xmlns='http://www.w3.org/2000/svg'/>"))
display(JSON({"a": 1}))
display(HTML("first"), display_id="x")
update_display(HTML("second"), display_id="x")
display({"text/html": "<i>raw</i>"}, raw=True)`,
  )
  assert.deepEqual(
    media.map(([mime]) => mime),
    [
      'text/html',
      'text/markdown',
      'text/latex',
      'image/svg+xml',
      'application/json',
      'text/html',
      'text/html',
    ],
  )
  assert.deepEqual(
    media.slice(-2).map(([, content]) => content),
    ['second', '<i>raw</i>'],
  )
})

test('tables, pictures and figures show as values in their richest form', async () => {
  const kernel = await server.create({ resourceLimits: { timeout: 60_000 } })
  for (const [code, mime, start] of [
    ['import pandas\npandas.DataFrame({"a": [1, 2]})', 'text/html', '<div>'],
    ['from PIL import Image\nImage.new("RGB", (4, 4), "red")', 'image/png', 'iVBOR'],
    ['from IPython.display import Math\nMath("x^2")', 'text/latex', '$\\displaystyle x^2$'],
  ] as const) {
    const { value } = await server.run(kernel, code)
    assert.ok(String(value?.[mime]).startsWith(start), JSON.stringify(value))
    assert.ok('text/plain' in (value ?? {}))
  }
  const { media } = await server.run(kernel, 'import matplotlib.pyplot as plt\nplt.plot([1, 2])\nNone')
  assert.equal(media[0]?.[0], 'image/png')
})

test('an error tells where it was raised', async () => {
  const kernel = await server.create()
  const { events } = await runEvents(
    { url: server.url, key: server.key, kernel },
    'def f(n):\n    return 1 / n\nf(0)',
  )
  const error = (await collect(events)).find((event) => event.type === 'error')
  assert.deepEqual(error?.frames, [
    { file: '<execution 1>', line: 3, name: '<module>', text: 'f(0)' },
    { file: '<execution 1>', line: 2, name: 'f', text: 'return 1 / n' },
  ])
})

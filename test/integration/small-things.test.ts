import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
before(async () => {
  server = await startServer()
})
after(() => server.close())

/** Runs code in a kernel of its own, gives it `input` where it asks, and gives everything that was printed. */
async function printed(lang: string, code: string, input: readonly string[] = []): Promise<string[]> {
  const kernel = await server.create({ lang, resourceLimits: { maxMem: 524_288 } })
  let result = await server.run(kernel, code)
  const shown = [result.stdout]
  let { stderr } = result
  for (const text of input) {
    assert.equal(result.status, 'waiting-input', JSON.stringify(result))
    result = await server.run(kernel, text)
    shown.push(result.stdout)
    stderr += result.stderr
  }
  assert.equal(result.status, 'finished', JSON.stringify(result))
  const [name] = result.exceptions[0] ?? []
  await server.destroy(kernel)
  return [...shown, stderr, ...(name === undefined ? [] : [name])]
}

test('c, cpp: a prompt is there before its input is asked for', async () => {
  const code =
    '#include <stdio.h>\nint main(void) { int n; printf("n? "); if (scanf("%d", &n) == 1) printf("%d\\n", n + 1); return 0; }'
  for (const lang of ['c', 'cpp']) assert.deepEqual(await printed(lang, code, ['41']), ['n? ', '42\n', ''])
})

test('java: a class that is not public may have the main method, whatever its name', async () => {
  const code =
    'record Point(int x) {}\nclass Other {\n  public static void main(String[] args) { System.out.println(new Point(4)); }\n}'
  assert.deepEqual(await printed('java', code), ['Point[x=4]\n', ''])
})

test('bash: exit prints nothing of its own', async () => {
  assert.deepEqual(await printed('bash', 'echo out; exit 3'), ['out\n', '', 'SystemExit'])
  assert.deepEqual(await printed('bash', 'exit 0'), ['', ''])
})

test('php, r: warnings name the code and not what runs it', async () => {
  assert.deepEqual(await printed('php', 'echo "a";\necho $missing;'), [
    'a',
    'PHP Warning:  Undefined variable $missing in execution on line 2\n',
  ])
  assert.deepEqual(await printed('php', 'echo @$missing;'), ['', ''])
  assert.deepEqual(
    await printed('r', 'x <- as.integer("a")\nwarning("w")\nf <- function() warning("in f")\nf()'),
    ['', 'Warning: NAs introduced by coercion\nWarning: w\nWarning in f() : in f\n'],
  )
})

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { parser } from '@prometheus-io/lezer-promql'
import { parse } from 'yaml'
import { z } from 'zod'
import { SERVER_LEAF } from '../../packages/server/src/backend/local/cgroup-v2.ts'
import { loadConfig } from '../../packages/server/src/config.ts'
import { ERRORS } from '../../packages/server/src/errors.ts'
import { startHttp } from '../support/http-fixture.ts'
import { namesOf } from '../support/metrics.ts'

const read = (name: string): string =>
  readFileSync(path.resolve(import.meta.dirname, '../../docs/deploy', name), 'utf8')

const alertsSchema = z.strictObject({
  groups: z.array(
    z.strictObject({
      name: z.string(),
      rules: z.array(
        z.strictObject({
          alert: z.string().regex(/^Cob[A-Za-z]+$/),
          expr: z.string(),
          for: z.string().regex(/^\d+[smh]$/),
          labels: z.strictObject({ severity: z.enum(['page', 'ticket']) }),
          annotations: z.strictObject({ summary: z.string().regex(/\.$/) }),
        }),
      ),
    }),
  ),
})
/** As much of Grafana's model as a panel needs to show anything. */
const dashboardSchema = z.looseObject({
  title: z.string(),
  uid: z.string(),
  schemaVersion: z.int(),
  panels: z.array(
    z.looseObject({
      id: z.int(),
      type: z.literal('timeseries'),
      title: z.string(),
      gridPos: z.strictObject({ h: z.int(), w: z.int(), x: z.int(), y: z.int() }),
      targets: z
        .array(z.looseObject({ refId: z.string(), expr: z.string(), legendFormat: z.string() }))
        .min(1),
    }),
  ),
})

const rules = alertsSchema.parse(parse(read('alerts.yml'))).groups.flatMap((group) => group.rules)
const dashboard = dashboardSchema.parse(JSON.parse(read('grafana-dashboard.json')))
/** Grafana fills in its variables before Prometheus sees them. */
const queries = [
  ...rules.map(({ expr }) => expr),
  ...dashboard.panels.flatMap(({ targets }) =>
    targets.map(({ expr }) => expr.replaceAll('$__rate_interval', '5m').replaceAll('$job', 'cob')),
  ),
]

/** What stands in a query at nodes of this name of the grammar. */
function partsOf(query: string, node: string): string[] {
  const parts: string[] = []
  parser.parse(query).iterate({
    enter: ({ name, type, from, to }) => {
      if (type.isError) assert.fail(`${query}: not PromQL at ${from}`)
      if (name === node) parts.push(query.slice(from, to))
    },
  })
  return parts
}

test("the alerts and the dashboard ask for figures that the server has, in Prometheus' language", async () => {
  const http = await startHttp()
  try {
    const names = namesOf(await (await fetch(`${http.url}/metrics`)).text())
    for (const query of queries) {
      const asked = partsOf(query, 'VectorSelector').map((selector) => /^\w+/.exec(selector)?.[0] ?? '')
      assert.ok(asked.length > 0, query)
      // Made by Prometheus itself.
      for (const name of asked) assert.ok(name === 'up' || names.has(name), `${query}: there is no ${name}`)
    }
    for (const broken of ['rate(x[5m]', 'sum by (lang (x)', 'x{code=}', 'x >'])
      assert.throws(() => partsOf(broken, 'VectorSelector'), /not PromQL/)
  } finally {
    await http.close()
  }
})

test('the codes that the alerts and the dashboard look for are codes of the API', () => {
  const codes = queries
    .flatMap((query) => [...query.matchAll(/\bcode=~?"([^"]*)"/g)])
    .flatMap(([, list = '']) => list.split('|'))
  assert.ok(codes.length > 5)
  for (const code of codes) assert.ok(code in ERRORS, code)
})

test('every alert is told of in the operations guide, and no two have one name', () => {
  const guide = readFileSync(path.resolve(import.meta.dirname, '../../docs/operations.md'), 'utf8')
  const names = rules.map(({ alert }) => alert)
  assert.equal(new Set(names).size, names.length)
  for (const name of names) assert.ok(guide.includes(`\`${name}\``), name)
  assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
})

test('the unit file keeps sessions over a restart, with settings that there are', () => {
  const unit = read('cob.service')
  const settings = [...unit.matchAll(/^Environment=(COB_\w+)=(.*)$/gm)].map(([, name, value]) => [
    name,
    value,
  ])
  assert.equal(loadConfig(Object.fromEntries(settings)).keepSessions, true)
  for (const line of ['KillMode=process', 'Delegate=yes', `DelegateSubgroup=${SERVER_LEAF}`])
    assert.ok(unit.split('\n').includes(line), line)
})

test('the Dockerfile takes what there is, and what the server needs of the system', () => {
  const root = path.resolve(import.meta.dirname, '../..')
  const dockerfile = read('Dockerfile')
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(
    ([, names]) => names?.split(' ') ?? [],
  )
  assert.ok(copied.length > 0)
  assert.deepEqual(
    copied.filter((name) => !existsSync(path.join(root, name))),
    [],
  )
  for (const name of ['bubblewrap', 'python3', 'slirp4netns', 'nftables', 'iproute2'])
    assert.match(dockerfile, new RegExp(`apt-get install .*\\b${name}\\b`))
})

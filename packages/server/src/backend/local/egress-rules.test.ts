import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { toEgressRules } from './egress-rules.ts'

test("the host's own addresses join the closed ones of their kind, and nft takes the rules", () => {
  const rules = toEgressRules(['127.0.0.1', '11.22.33.44', '2620:fe::9', '::1', '10.1.2.3'])
  assert.match(rules, /closed4 .*, 127\.0\.0\.1, 11\.22\.33\.44, 10\.1\.2\.3 \}/)
  assert.match(rules, /closed6 .*, 2620:fe::9, ::1 \}/)
  // In a network namespace of its own.
  const listed = execFileSync(
    'unshare',
    ['--net', 'sh', '-c', '/usr/sbin/nft -f - && /usr/sbin/nft list ruleset'],
    {
      input: rules,
      encoding: 'utf8',
    },
  )
  assert.match(listed, /ip daddr @closed4 reject/)
  assert.match(listed, /11\.22\.33\.44/)
})

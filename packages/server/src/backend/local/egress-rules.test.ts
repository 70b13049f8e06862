import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { toEgressRules } from './egress-rules.ts'

test("the host's own ranges join the refused ones of their kind, and nft takes the rules", () => {
  const rules = toEgressRules(['127.0.0.0/8', '11.22.33.44/32', '2620:fe::9/128', '::1/128', '10.1.2.3/32'])
  assert.match(rules, /refused4 .*, 127\.0\.0\.0\/8, 11\.22\.33\.44\/32, 10\.1\.2\.3\/32 \}/)
  assert.match(rules, /refused6 .*, 2620:fe::9\/128, ::1\/128 \}/)
  // In a network namespace of its own.
  const listed = execFileSync(
    'unshare',
    ['--net', 'sh', '-c', '/usr/sbin/nft -f - && /usr/sbin/nft list ruleset'],
    {
      input: rules,
      encoding: 'utf8',
    },
  )
  assert.match(listed, /policy drop/)
  assert.match(listed, /ip daddr @refused4 goto refuse/)
  assert.match(listed, /11\.22\.33\.44/)
})

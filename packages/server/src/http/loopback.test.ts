import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isLoopback, isReachable } from './loopback.ts'

test('addresses of this machine alone are told from those that others reach', async () => {
  for (const address of ['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1'])
    assert.ok(isLoopback(address), address)
  for (const address of ['0.0.0.0', '::', '10.0.0.1', '::ffff:10.0.0.1', 'fe80::1', 'localhost', ''])
    assert.ok(!isLoopback(address), address)
  for (const host of ['127.0.0.1', '::1', 'localhost']) assert.equal(await isReachable(host), false, host)
  for (const host of ['0.0.0.0', '::', '192.0.2.7']) assert.equal(await isReachable(host), true, host)
})

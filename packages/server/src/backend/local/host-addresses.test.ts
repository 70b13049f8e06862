import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { parseIpv4Ranges, parseIpv6Ranges, readHostRanges } from './host-addresses.ts'

test('what a host answers to over IPv4 is read from its routing tables, and nothing else', () => {
  const fibTrie = `Main:
  +-- 0.0.0.0/0 3 0 4
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 192.0.2.0/24 2 0 1
        |-- 192.0.2.0
           /24 link UNICAST
        |-- 192.0.2.2
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
Local:
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 192.0.2.2
           /32 host LOCAL
        |-- 198.51.100.0
           /24 link UNICAST
           /25 host LOCAL
`
  assert.deepEqual(parseIpv4Ranges(fibTrie), ['192.0.2.2/32', '127.0.0.0/8', '198.51.100.0/25'])
})

test('what a host answers to over IPv6 is read from its routes, and nothing else', () => {
  const zero = '00000000000000000000000000000000 00 00000000000000000000000000000000'
  const routes = `fd000000000000000000000000000000 40 ${zero} 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 ${zero} fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
20010db8000000000000000000000002 80 ${zero} 00000000 00000003 00000000 80200001     eth0
20010db8000100000000000000000000 40 ${zero} 00000400 00000001 00000000 80000001       lo
`
  assert.deepEqual(parseIpv6Ranges(routes), [
    '2001:0db8:0000:0000:0000:0000:0000:0002/128',
    '2001:0db8:0001:0000:0000:0000:0000:0000/64',
  ])
})

test("this host's own addresses are found", () => {
  const found = readHostRanges()
  assert.ok(found.includes('127.0.0.0/8'))
  const ipv4 = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  for (const { address, family, internal } of ipv4)
    if (family === 'IPv4' && !internal) assert.ok(found.includes(`${address}/32`), address)
})

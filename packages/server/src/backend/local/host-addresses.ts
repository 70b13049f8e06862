import { existsSync, readFileSync } from 'node:fs'

/** Flag of a route to the host itself (linux/ipv6_route.h). */
const RTF_LOCAL = 0x8000_0000

/**
 * Every range the host answers to itself, as CIDR: what its routing tables call local. More than the addresses of its interfaces,
 * which may be given whole networks and count also while a cable is out.
 */
export function readHostRanges(): string[] {
  const ipv6 = '/proc/net/ipv6_route'
  return [
    ...parseIpv4Ranges(readFileSync('/proc/net/fib_trie', 'utf8')),
    // Absent where IPv6 is switched off.
    ...(existsSync(ipv6) ? parseIpv6Ranges(readFileSync(ipv6, 'utf8')) : []),
  ]
}

/** From `/proc/net/fib_trie`: a line with an address, then one for each route to it. */
export function parseIpv4Ranges(fibTrie: string): string[] {
  const found = new Set<string>()
  let address = ''
  for (const line of fibTrie.split('\n')) {
    address = /\|-- (\S+)/.exec(line)?.[1] ?? address
    const length = /^\s*\/(\d+) \S+ LOCAL\b/.exec(line)?.[1]
    if (length !== undefined) found.add(`${address}/${length}`)
  }
  return [...found]
}

/** From `/proc/net/ipv6_route`: destination, its prefix length, source and its length, next hop, metric, two counts, flags, interface; hexadecimal. */
export function parseIpv6Ranges(routes: string): string[] {
  const found = new Set<string>()
  for (const line of routes.split('\n')) {
    const [address = '', length = '', , , , , , , flags = ''] = line.trim().split(/\s+/)
    if ((Number.parseInt(flags, 16) & RTF_LOCAL) === 0) continue
    found.add(`${address.match(/.{4}/g)?.join(':')}/${Number.parseInt(length, 16)}`)
  }
  return [...found]
}

import { lookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

/** True for an address of this machine alone, IPv4 in IPv6 included; false for what is no address. */
export function isLoopback(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && LOOPBACK.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** Whether other machines may reach what listens on `host`, an address or a name. Rejects for a name that is not known. */
export async function isReachable(host: string): Promise<boolean> {
  const addresses = await lookup(host, { all: true })
  return !addresses.every(({ address }) => isLoopback(address))
}

const IPV4 = /^(?:::ffff:)?(\d{1,3}(?:\.\d{1,3}){3})$/i
const GROUPS = 8
const PREFIX_GROUPS = 4

/** What one household or machine holds of addresses: an IPv4 address, or the /64 of an IPv6 address, whose owner has 2^64 of them. */
export function toNetwork(address: string): string {
  const ipv4 = IPV4.exec(address)?.[1]
  if (ipv4 !== undefined) return ipv4
  const [plain = ''] = address.split('%')
  const [head = '', tail] = plain.split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros: string[] = Array(Math.max(0, GROUPS - first.length - last.length)).fill('0')
  return `${[...first, ...zeros, ...last].slice(0, PREFIX_GROUPS).join(':')}::/64`
}

/** Addresses of slirp4netns inside a session's network (slirp4netns(1)). */
export const RESOLVER = '10.0.2.3'
const RESOLVER_6 = 'fd00::3'

/** Everything that is not the public internet (IANA's special-purpose address registries). */
const CLOSED_4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...['192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15'],
  ...['198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/3'],
]
const CLOSED_6 = [
  ...['::/127', '::ffff:0:0/96', '64:ff9b::/96', '64:ff9b:1::/48', '100::/64', '2001::/23', '2001:db8::/32'],
  ...['2002::/16', '3fff::/20', '5f00::/16', 'fc00::/7', 'fe80::/10', 'fec0::/10', 'ff00::/8'],
]

/**
 * The nftables ruleset of a session's network namespace: out to public addresses, to the resolver's port 53, and
 * to itself; not to `hostAddresses`, those of this machine's own interfaces. Nobody inside has power over the namespace.
 */
export function toEgressRules(hostAddresses: readonly string[]): string {
  const own4 = hostAddresses.filter((address) => !address.includes(':'))
  const own6 = hostAddresses.filter((address) => address.includes(':'))
  const set = (name: string, type: string, elements: readonly string[]): string =>
    `set ${name} { type ${type}; flags interval; auto-merge; elements = { ${elements.join(', ')} } }`
  return `table inet cob {
  ${set('closed4', 'ipv4_addr', [...CLOSED_4, ...own4])}
  ${set('closed6', 'ipv6_addr', [...CLOSED_6, ...own6])}
  chain output {
    type filter hook output priority filter; policy accept;
    oif lo accept
    meta l4proto { tcp, udp } ip daddr ${RESOLVER} th dport 53 accept
    meta l4proto { tcp, udp } ip6 daddr ${RESOLVER_6} th dport 53 accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept
    ip daddr @closed4 reject with icmpx admin-prohibited
    ip6 daddr @closed6 reject with icmpx admin-prohibited
  }
}
`
}

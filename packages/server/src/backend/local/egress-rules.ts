/** Addresses of name resolution in slirp4netns' network (slirp4netns(1)); the same in every sandbox, as each has a namespace of its own. */
export const RESOLVER = '10.0.2.3'
const RESOLVER_6 = 'fd00::3'

/** IPv4 ranges that are not the public internet (IANA IPv4 Special-Purpose Address Registry, RFC 6890), and multicast. */
const SPECIAL_IPV4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
]

/** The same of IPv6. All that is not global unicast (RFC 4291, 2.4) is refused; the others stay named for who reads the rules. */
const GLOBAL_UNICAST_IPV6 = '2000::/3'
const SPECIAL_IPV6 = [
  '::/128',
  '::1/128',
  '::ffff:0:0/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23', // IETF protocols, Teredo among them
  '2001:db8::/32',
  '2002::/16', // 6to4: holds an IPv4 address
  '3fff::/20',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
]

/**
 * The nftables script of a sandbox that may reach the public internet: nothing else, and none of `hostRanges`, which slirp4netns
 * would reach as the host itself. What is refused is answered, so that code fails at once.
 *
 * It looks at packets where they leave, so neither the kind of socket nor the interface it is bound to matters.
 */
export function toEgressRules(hostRanges: readonly string[]): string {
  const isIpv6 = (range: string): boolean => range.includes(':')
  const refused4 = [...SPECIAL_IPV4, ...hostRanges.filter((range) => !isIpv6(range))]
  const refused6 = [...SPECIAL_IPV6, ...hostRanges.filter(isIpv6)]
  const set = (name: string, type: string, ranges: readonly string[]): string =>
    `  set ${name} { type ${type}; flags interval; auto-merge; elements = { ${ranges.join(', ')} }; }`
  return `table inet cob {
${set('refused4', 'ipv4_addr', refused4)}
${set('refused6', 'ipv6_addr', refused6)}
  chain output {
    type filter hook output priority filter; policy drop;
    oifname "lo" accept
    icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept
    ip hdrlength > 5 goto refuse comment "options: source routes"
    exthdr rt exists goto refuse
    ip daddr ${RESOLVER} meta l4proto { tcp, udp } th dport 53 accept
    ip6 daddr ${RESOLVER_6} meta l4proto { tcp, udp } th dport 53 accept
    ip daddr @refused4 goto refuse
    ip6 daddr @refused6 goto refuse
    ip6 daddr != ${GLOBAL_UNICAST_IPV6} goto refuse
    meta l4proto { tcp, udp } accept
    goto refuse
  }
  chain refuse {
    meta nfproto ipv6 meta l4proto tcp reject with tcp reset comment "an ICMPv6 error would be heeded a second later"
    reject with icmpx type admin-prohibited
  }
}
`
}

import { type Attack, python } from './attack.ts'

/** Reaching anybody over a network. */
export const NETWORK: readonly Attack[] = [
  python(
    "the server's own port, and other listeners of the host",
    ['network-namespace'],
    ({ server, bait }) => `
for host in ('127.0.0.1', '::1', '0.0.0.0', 'localhost'):
    for port in (${new URL(server.url).port}, ${bait.port}):
        attempt(f'{host}:{port}', lambda: socket.create_connection((host, port), 2).close())`,
  ),
  python(
    "the host's abstract Unix sockets",
    ['network-namespace'],
    ({ bait }) => `
def connect(name):
    with socket.socket(socket.AF_UNIX) as client: client.connect(name); return client.recv(100)
attempt('abstract', lambda: connect('\\0${bait.abstractSocket}'))
if len(open('/proc/net/unix').readlines()) > 20: hole('sockets of the host are listed')`,
  ),
  python(
    'the metadata address, private and public addresses',
    [],
    `
for address in ('169.254.169.254', '10.0.2.2', '192.168.1.1', '172.17.0.1', '8.8.8.8', '192.0.2.1'):
    attempt(address, lambda: socket.create_connection((address, 80), 2).close())
for address in ('fd00:ec2::254', 'fe80::1', '2001:4860:4860::8888', '::ffff:127.0.0.1'):
    attempt(address, lambda: socket.create_connection((address, 80), 2).close())`,
  ),
  python(
    'DNS and raw UDP',
    [],
    `
for address in ('8.8.8.8', '127.0.0.53', '1.1.1.1'):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        attempt(address, lambda: (client.sendto(b'\\0\\1\\1\\0\\0\\1' + b'\\0' * 6, (address, 53)), client.recv(100)))
attempt('getaddrinfo', lambda: socket.getaddrinfo('example.com', 80))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    attempt('broadcast', lambda: client.sendto(b'x', ('255.255.255.255', 9)))`,
  ),
]

import { request } from 'node:http'
import type { Attack, Target } from './attack.ts'

const PATHS = [
  '../../../../etc/passwd',
  '..%2f..%2f..%2f..%2fetc%2fpasswd',
  '%2e%2e/%2e%2e/%2e%2e/etc/passwd',
  '%252e%252e/etc/passwd',
  '..\\..\\etc\\passwd',
  '/etc/passwd',
  '%2fetc%2fpasswd',
  'link-to-passwd',
  'link-to-root/etc/passwd',
  'fifo',
  'device',
  'proc-link/environ',
  'a%00b',
  '%c0%ae%c0%ae/etc/passwd',
  '....//....//etc/passwd',
]

/** As it is, without the tidying that fetch does. */
function send(
  { server }: Target,
  method: string,
  path: string,
  key: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url)
    const headers = {
      authorization: `Bearer ${key}`,
      'content-type': 'application/octet-stream',
      'content-length': 1,
    }
    const outgoing = request({ hostname, port, path, method, headers }, async (response) => {
      let text = ''
      for await (const chunk of response.setEncoding('latin1')) text += chunk
      resolve({ status: response.statusCode ?? 0, text })
    })
    outgoing.on('error', reject)
    outgoing.end('x')
  })
}

/** Reaching files through paths of requests. There is no file API yet: all of it must be told so, and nothing read or written. */
export const FILE_PATHS: readonly Attack[] = [
  {
    name: 'paths that leave the session, links, FIFOs and devices',
    layers: [],
    async run(target) {
      const { api, kernel, server } = target
      await api.run(
        kernel,
        `
import os
os.symlink('/etc/passwd', 'link-to-passwd'); os.symlink('/', 'link-to-root'); os.mkfifo('fifo'); os.symlink('/dev/zero', 'device'); os.symlink('/proc/1', 'proc-link')`,
      )
      const answers = []
      for (const method of ['GET', 'PUT', 'DELETE', 'POST']) {
        for (const path of PATHS) {
          for (const route of ['files', 'upload', 'download']) {
            answers.push(await send(target, method, `/v1/kernel/${kernel}/${route}/${path}`, server.key))
          }
        }
      }
      const statuses = [...new Set(answers.map(({ status }) => status))].sort()
      const leaks = answers.filter(
        ({ status, text }) => status >= 500 || status < 400 || /root:|daemon|work:x/.test(text),
      )
      const { value } = await api.run(kernel, "sorted(os.listdir('.'))")
      const isSame =
        value?.['text/plain'] === "['device', 'fifo', 'link-to-passwd', 'link-to-root', 'proc-link']"
      return {
        safe: leaks.length === 0 && isSame,
        outcome: `${answers.length} requests, all ${statuses.join(' or ')}`,
      }
    },
  },
]

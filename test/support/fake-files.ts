import type { Duplex } from 'node:stream'
import { type AgentStreamRequest, agentStreamRequestSchema } from '@cob/protocol'
import { encodeBytesHeader, encodeJsonFrame, type Frame } from '../../packages/server/src/channel/framing.ts'

/** The files of one sandbox in memory, by path; a folder is what a longer path begins with. */
export type FakeFiles = Map<string, Buffer>

/** Serves the frames of one connection that carries files, or a terminal that says what is typed; returns what takes them. */
export function serveFiles(files: FakeFiles, stream: Duplex): (frame: Frame) => void {
  let opened = ''
  let isTerminal = false
  let writing: { readonly path: string; readonly room: number; content: Buffer } | undefined
  const isFolder = (path: string): boolean =>
    path === '' || [...files.keys()].some((name) => name.startsWith(`${path}/`))
  const send = (bytes: Buffer): void => {
    stream.write(encodeBytesHeader(bytes.length))
    stream.write(bytes)
  }
  const answer = ({ method, params }: AgentStreamRequest): Record<string, unknown> | string | undefined => {
    switch (method) {
      case 'open': {
        opened = params.path.join('/')
        const size = files.get(opened)?.length ?? 0
        if (!files.has(opened) && !isFolder(opened)) return 'not-found'
        return { kind: isFolder(opened) ? 'folder' : 'file', size, modified: 0, tag: '0' }
      }
      case 'read':
        send(files.get(opened)?.subarray(params.offset, params.offset + params.length) ?? Buffer.alloc(0))
        return {}
      case 'list':
        return {
          entries: [...files].map(([name, { length }]) => [name.slice(0, 255), 'file', length, 0]),
          truncated: false,
        }
      case 'archive':
        send(Buffer.alloc(1024))
        return {}
      case 'write':
        if (isFolder(params.path.join('/'))) return 'is-a-folder'
        writing = { path: params.path.join('/'), room: params.room, content: Buffer.alloc(0) }
        return {}
      case 'commit': {
        if (!writing) return 'refused'
        const created = !files.has(writing.path)
        files.set(writing.path, writing.content)
        return { created, size: writing.content.length }
      }
      case 'remove':
        return files.delete(params.path.join('/')) ? {} : 'not-found'
      case 'terminal':
        isTerminal = true
        return undefined
      case 'resize':
        return undefined
      default:
        return method satisfies never
    }
  }
  return (frame) => {
    if (frame.kind === 'bytes') {
      if (writing) writing.content = Buffer.concat([writing.content, frame.bytes])
      if (isTerminal && frame.bytes.length > 0) send(frame.bytes)
      return
    }
    const request = agentStreamRequestSchema.parse(frame.json)
    const result = answer(request)
    if (result === undefined) return
    stream.write(
      encodeJsonFrame(
        typeof result === 'string'
          ? { type: 'fail', id: request.id, code: result, message: result, details: {} }
          : { type: 'reply', id: request.id, result },
      ),
    )
  }
}

import type { Config } from '@cob/server'
import { PNG } from 'pngjs'
import { image2sixel } from 'sixel'

/** How terminals are told to show a picture. */
export type ImageProtocol = 'kitty' | 'iterm2' | 'sixel'

/** Of kitty's protocol: base64 in one escape sequence. */
const KITTY_CHUNK = 4096

/** What the terminal on standard output understands; the setting `images` says it where it cannot be told. */
export function findImageProtocol(
  { images }: Pick<Config, 'images'>,
  environment: NodeJS.ProcessEnv,
  isTerminal: boolean,
): ImageProtocol | undefined {
  if (images !== undefined) return images === 'file' ? undefined : images
  if (!isTerminal) return undefined
  const { TERM = '', TERM_PROGRAM = '', KITTY_WINDOW_ID } = environment
  if (KITTY_WINDOW_ID || TERM === 'xterm-kitty' || TERM_PROGRAM === 'ghostty') return 'kitty'
  if (['iTerm.app', 'WezTerm', 'mintty'].includes(TERM_PROGRAM)) return 'iterm2'
  if (/^(foot|mlterm|yaft|contour)|sixel/.test(TERM)) return 'sixel'
  return undefined
}

/** The escape sequences that show a PNG; undefined for what is none. */
export function toEscapes(protocol: ImageProtocol, png: Buffer): string | undefined {
  const base64 = png.toString('base64')
  switch (protocol) {
    case 'iterm2':
      // https://iterm2.com/documentation-images.html
      return `\x1b]1337;File=inline=1;size=${png.length}:${base64}\x07\n`
    case 'kitty': {
      // https://sw.kovidgoyal.net/kitty/graphics-protocol/
      const chunks = base64.match(new RegExp(`.{1,${KITTY_CHUNK}}`, 'g')) ?? []
      const parts = chunks.map((chunk, index) => {
        const keys = `${index === 0 ? 'a=T,f=100,' : ''}m=${index < chunks.length - 1 ? 1 : 0}`
        return `\x1b_G${keys};${chunk}\x1b\\`
      })
      return `${parts.join('')}\n`
    }
    case 'sixel':
      try {
        const { data, width, height } = PNG.sync.read(png)
        return `${image2sixel(data, width, height)}\n`
      } catch {
        return undefined
      }
    default:
      return protocol satisfies never
  }
}

import { readdirSync, readFileSync } from 'node:fs'

const O_CLOEXEC = 0o2000000

/**
 * Descriptors above 2 that every program this process starts would inherit: those it inherited itself,
 * as from a terminal or a supervisor. Node opens its own close-on-exec. From `/proc/self/fdinfo` (proc(5)).
 */
export function findInheritableDescriptors(): number[] {
  return readdirSync('/proc/self/fdinfo')
    .map(Number)
    .filter((fd) => {
      if (fd <= 2) return false
      try {
        const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1]
        return flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0
      } catch {
        return false // the descriptor of the listing itself
      }
    })
}

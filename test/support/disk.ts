import { execFileSync } from 'node:child_process'
import {
  closeSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

const BLOCK = Buffer.alloc(4096, 1)

/** A disk of its own, mounted on a folder; needs root. What goes wrong with it goes wrong with nothing else. */
export interface Disk {
  /** Takes all the room that is left, or gives it back. */
  fill(): void
  empty(): void
  /** As after damage that the kernel has found: from now on nothing can be written. */
  fail(): void
  unmount(): void
}

export function mountDisk(folder: string, megabytes: number): Disk {
  const place = mkdtempSync(path.join(tmpdir(), 'cob-disk-'))
  const image = path.join(place, 'image')
  writeFileSync(image, '')
  truncateSync(image, megabytes * 1024 * 1024)
  run('mkfs.ext4', '-q', '-m', '0', image)
  run('mount', '-o', 'loop,errors=remount-ro', image, folder)
  const filling = path.join(folder, 'filling')
  return {
    fill() {
      const descriptor = openSync(filling, 'w')
      // What the file system had put aside for writing it down is there once that is done.
      let written = 1
      while (written > 0) {
        written = writeAll(descriptor)
        fsyncSync(descriptor)
      }
      closeSync(descriptor)
    },
    empty: () => rmSync(filling),
    fail() {
      const device = path.basename(run('findmnt', '-no', 'SOURCE', folder).trim())
      writeFileSync(`/sys/fs/ext4/${device}/trigger_fs_error`, '1')
    },
    unmount() {
      run('umount', folder)
      rmSync(place, { recursive: true })
    },
  }
}

/** Blocks until there is no room; how many. */
function writeAll(descriptor: number): number {
  for (let written = 0; ; written++) {
    try {
      writeSync(descriptor, BLOCK)
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return written
      throw error
    }
  }
}

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

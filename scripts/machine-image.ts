/** What the virtual machine of `npm run test:cgroup2` boots: Debian's kernel, and a first file system with busybox and a few modules. */
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, globSync, mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'

/** In the order in which they can be loaded. */
const MODULES = [
  ...['drivers/virtio/virtio_ring', 'drivers/virtio/virtio', 'drivers/virtio/virtio_pci_legacy_dev'],
  ...['drivers/virtio/virtio_pci_modern_dev', 'drivers/virtio/virtio_pci', 'drivers/block/virtio_blk'],
  ...['fs/netfs/netfs', 'fs/fscache/fscache', 'net/9p/9pnet', 'net/9p/9pnet_virtio', 'fs/9p/9p'],
]
const KERNEL = 'linux-image-amd64'

interface MachineImage {
  readonly kernel: string
  readonly initrd: string
}

/**
 * Makes the image in `dir`. The kernel (70 MB) and busybox are Debian packages: downloaded there the first time, unpacked, never
 * installed. Throws, saying what to do, when they cannot be had.
 */
export function makeMachineImage(dir: string, initScript: string): MachineImage {
  const unpacked = path.join(dir, 'packages')
  if (!existsSync(path.join(unpacked, 'done'))) download(dir, unpacked)
  const [kernel] = globSync('boot/vmlinuz-*', { cwd: unpacked })
  if (kernel === undefined)
    throw new Error(`There is no boot/vmlinuz-* in ${unpacked}. Remove ${dir} and try again.`)

  const root = path.join(dir, 'root')
  rmSync(root, { recursive: true, force: true })
  for (const folder of ['bin', 'modules']) mkdirSync(path.join(root, folder), { recursive: true })
  const busybox = path.join(unpacked, 'bin/busybox')
  copyFileSync(busybox, path.join(root, 'bin/busybox'))
  MODULES.forEach((name, index) => {
    const [file] = globSync(`{usr/,}lib/modules/*/kernel/${name}.ko`, { cwd: unpacked })
    if (file === undefined)
      throw new Error(
        `Debian's kernel in ${unpacked} has no module ${name}.ko; MODULES in scripts/machine-image.ts names those it needs.`,
      )
    const order = String(index).padStart(2, '0')
    copyFileSync(path.join(unpacked, file), path.join(root, 'modules', `${order}-${path.basename(file)}`))
  })
  copyFileSync(initScript, path.join(root, 'init'))
  chmodSync(path.join(root, 'init'), 0o755)
  shell(`cd "$1" && find . | "$2" cpio -o -H newc 2>/dev/null | gzip -1 >"$3"`, root, busybox, `${root}.gz`)
  return { kernel: path.join(unpacked, kernel), initrd: `${root}.gz` }
}

function download(dir: string, unpacked: string): void {
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(unpacked, { recursive: true })
  // The first names the newest kernel only by depending on it.
  const get = `
    kernel=$(apt-cache depends ${KERNEL} | sed -n 's/^ *Depends: \\(linux-image-[0-9]\\)/\\1/p')
    cd "$1" && apt-get -qq download "\${kernel:?no package ${KERNEL} in the lists}" busybox-static`
  const update = process.getuid?.() === 0 ? `apt-get -qq update && ${get}` : 'false'
  try {
    shell(`(${get}) || (${update})`, dir)
    shell(
      `cd "$2" && for package in "$1"/*.deb; do dpkg-deb --fsys-tarfile "$package" |
        tar x --wildcards ./boot/vmlinuz-\\* ./lib/modules/\\*/kernel/\\* ./usr/lib/modules/\\*/kernel/\\* ./bin/busybox ./usr/bin/busybox 2>/dev/null; done
       touch done; rm "$1"/*.deb`,
      dir,
      unpacked,
    )
  } catch (cause) {
    rmSync(dir, { recursive: true, force: true })
    throw new Error(
      `The machine's kernel and first program, Debian's packages ${KERNEL} and busybox-static, could not be downloaded (they are unpacked into ${dir}, not installed; apt-get and dpkg-deb are needed). What apt-get said is above. As root:\n\n    apt-get update && apt-get download ${KERNEL} busybox-static\n\nmust work; then try again.`,
      { cause },
    )
  }
}

function shell(script: string, ...args: string[]): void {
  const { status } = spawnSync('sh', ['-c', script, 'sh', ...args], { stdio: ['ignore', 2, 2] })
  if (status !== 0) throw new Error(`sh ended with ${status}: ${script}`)
}

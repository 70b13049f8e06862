#!/bin/busybox sh
# First program of the virtual machine: makes a root of the host's folders, read-only, and memory, mounts cgroups and runs guest.ts.
/bin/busybox --install -s /bin
export PATH=/bin
for module in /modules/*; do insmod "$module"; done
mkdir -p /proc /sys /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

mkdir -p /new
mount -t tmpfs -o mode=755,size=64m root /new
cd /new
mkdir -p usr etc checkout proc sys dev run var root home tmp
for share in usr etc checkout; do
  mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro "$share" "/new/$share"
done
for name in bin sbin lib lib32 lib64 libx32; do
  [ ! -e "/new/usr/$name" ] || ln -s "usr/$name" "/new/$name"
done
mount -t tmpfs -o mode=1777,size=512m tmp /new/tmp
mkdir -p /dev/shm
mount -t tmpfs -o mode=1777 shm /dev/shm
ip link set lo up
# So that a limit on memory without one on swap shows.
mkswap /dev/vda >/dev/null && swapon /dev/vda

case " $(cat /proc/cmdline) " in
*' cob.machine=mixed '*)
  mount -t tmpfs -o mode=755 cgroups /sys/fs/cgroup
  mkdir /sys/fs/cgroup/memory /sys/fs/cgroup/unified
  mount -t cgroup -o memory memory /sys/fs/cgroup/memory
  mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
  ;;
*) mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup ;;
esac
for each in proc sys dev; do mount --move "/$each" "/new/$each"; done
exec switch_root /new /bin/sh -c '
  cd /checkout
  export HOME=/tmp PATH=/checkout/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
  node test/machine/guest.ts </dev/null 2>&1
  echo "machine: ended with status $?"
  exec sleep 600'

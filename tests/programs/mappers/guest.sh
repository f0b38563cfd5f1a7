#!/bin/busybox sh
# The guest's init: fills a file in its memory, then does what lines from the console say.
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /dev /proc /sys
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in libnvdimm nd_btt nd_pmem nfit; do insmod /$module.ko; done
yes 'a line of the guest' | head -c 16000000 >/file
stty -echo
echo ready
while read -r line; do eval "$line"; done

state() { echo "tainted $(cat /proc/sys/kernel/tainted) oopses $(cat /sys/kernel/oops_count) warnings $(cat /sys/kernel/warn_count)"; }
provoke() { (echo "$1" > DIRECT); }
exec 2> /dev/null
state
for fault in BUG ARRAY_BOUNDS EXCEPTION WARNING WARNING_MESSAGE NONE; do
  provoke $fault; echo "$fault $?"
done
state
dmesg | grep -o 'kernel BUG at\|page fault in the kernel\|WARNING:\|message trigger count: 1\|provoked'
# What it had open is closed, its memory given back, its parent told.
(bash -c 'echo BUG > DIRECT' | cat; echo "pipe ends")
command -v python3 > /dev/null && python3 - <<'P'
import os, threading, time
def die():
    fd = os.open("DIRECT", os.O_WRONLY)
    time.sleep(0.3)
    os.write(fd, b"BUG")
threading.Thread(target=die, daemon=True).start()
while len(os.listdir("/proc/self/task")) < 2: time.sleep(0.01)
while len(os.listdir("/proc/self/task")) > 1: time.sleep(0.01)
print("the other thread lives", flush=True)
os._exit(0)
P
for child in 1 2 3 4 5 6 7 8; do
  (for n in 1 2 3 4 5; do provoke BUG; provoke EXCEPTION; done) &
done
wait
state
echo 0 > /proc/sys/kernel/oops_limit; echo 4294967295 > /proc/sys/kernel/warn_limit
(echo -1 > /proc/sys/kernel/oops_limit) || echo refused
(echo 2 > /proc/sys/kernel/panic_on_warn) || echo refused
cat /proc/sys/kernel/{oops_limit,warn_limit,panic_on_oops,panic_on_warn}

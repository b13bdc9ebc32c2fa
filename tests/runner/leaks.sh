# Each workload runs until caches are warm, and then many times more: the kernel's heap objects must not add up.
active() { awk 'NR > 2 { print $4, $2 }' /proc/slabinfo; }
check() { # NAME STATUS COMMAND: the command ends with this status
    name=$1 status=$2 rounds=150
    shift 2
    "$@" >/tmp/output 2>&1
    [ $? = "$status" ] || { echo "FAILED $name"; cat /tmp/output; }
    for i in $(seq 20); do "$@"; done >/dev/null 2>&1
    active >/tmp/before
    for i in $(seq $rounds); do "$@"; done >/dev/null 2>&1
    active >/tmp/after
    # Free objects in a processor's cache count as used, and there are at most 64 of a kind in each.
    paste -d' ' /tmp/before /tmp/after | awk -v name="$name" -v limit=$((rounds - 20)) \
        '$4 - $2 > limit { print "LEAK " name ": " $4 - $2 " objects of " $1 " bytes" }'
}
check exec 0 /bin/true
check pipes 0 sh -c 'echo x | cat | cat'
check signals 143 sh -c 'kill -TERM $$'
check files 0 sh -c 'echo x >/tmp/f; mv /tmp/f /tmp/g; rm /tmp/g'
check sessions 0 setsid -w true
check processes 0 readlink /proc/self/exe
check sockets 0 perl -MSocket -e 'socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die; syswrite $a, "x"'
check namespaces 0 unshare -Urpf --mount-proc true
check queues 0 sh -c 'ipcrm -q $(ipcmk -Q | tr -dc 0-9)'
check memory 0 sh -c 'ipcrm -m $(ipcmk -M 9999 | tr -dc 0-9)'
check terminals 0 script -qc true /dev/null
command -v strace >/dev/null && check tracing 0 strace -f -o /dev/null sh -c 'true & wait'
echo checked

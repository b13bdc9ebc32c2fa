#!/bin/bash
# One program of the suites `tools` and `stress`, run in the guest on this machine's root: prints TAP lines.
#   tools.sh NAME     a test below, or a stressor of stress-ng
# A check passes when the program says what it has to say; nothing here is timed.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=xterm LANG=C.UTF-8 LC_ALL=C.UTF-8
number=0
check() { # NAME COMMAND...: one sub-test
    local name=$1 word=ok
    shift
    number=$((number + 1))
    "$@" >"$HOME/out" 2>&1 || { word="not ok"; sed 's/^/# /' "$HOME/out"; }
    echo "$word $number - $name"
}
has() { # PATTERN...: what the last program printed has a line for each
    local pattern
    for pattern in "$@"; do grep -qE -- "$pattern" "$HOME/log" || { echo "no line $pattern in"; cat "$HOME/log"; return 1; }; done
}
# The text of a terminal has PATTERN before long.
shown() { # PATTERN
    local try
    for try in {1..100}; do
        tmux -L t capture-pane -p "${@:2}" >"$HOME/log" 2>&1
        grep -qE -- "$1" "$HOME/log" && return 0
        sleep 0.1
    done
    cat "$HOME/log"
    return 1
}
program() { # a program with threads, for debuggers
    cat >p.c <<'C'
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
volatile int shared;
static pthread_barrier_t all;
static void wait_here(long n) { pthread_barrier_wait(&all); for (;;) { pause(); n++; } }
static void *work(void *p) { wait_here((long)p); return 0; }
int add(int a, int b) { shared = a; shared = a + b; return shared; }
int main(int argc, char **argv)
{
	int sum = 0;
	for (int i = 1; i <= 3; i++) sum = add(sum, i);
	printf("sum %d\n", sum);
	if (argc > 1) {
		pthread_t t[3];
		pthread_barrier_init(&all, 0, 4);
		for (long i = 0; i < 3; i++) pthread_create(&t[i], 0, work, (void *)i);
		pthread_barrier_wait(&all);
		puts("all");
		fflush(stdout);
		pause();
	}
	return 0;
}
C
    gcc -g -O0 -pthread -o p p.c
}
debug() { gdb -nx -batch -ex 'set confirm off' -ex 'set debuginfod enabled off' "$@" >"$HOME/log" 2>&1; }
started() { # p with threads, its number in $pid
    ./p threads >said &
    pid=$!
    for _ in {1..200}; do grep -q all said && break; sleep 0.05; done
}

hackbench_() {
    check sockets hackbench -g 2 -l 30
    check pipes hackbench -p -g 2 -l 30
    check threads hackbench -T -g 2 -l 30
    check thread-pipes hackbench -T -p -g 2 -l 30
}
cyclictest_() {
    loops() { cyclictest -q -l 100 -i 2000 "$@" >"$HOME/log" && has 'T: 0 .* C: +100 '; }
    check normal loops
    check fifo loops -p 80 -m
    check round-robin loops -p 20 --policy=rr
    check threads loops -t 2 -p 50
    check pinned loops -a 0 -t 1 -p 50
    check clock loops -c 1
    histogram() { cyclictest -q -l 100 -i 2000 -h 10 >"$HOME/log" && has '^# Total:' '^# Max Latencies:'; }
    check histogram histogram
    check posix-timers loops -x
    check system-timers loops -s
}
tmux_() {
    check new-session tmux -L t -f /dev/null new-session -d -x 80 -y 24 'exec bash --norc --noprofile'
    tmux -L t send-keys 'PS1="> "; stty size' Enter
    check size shown '^24 80|^23 80'
    tmux -L t split-window -h 'exec bash --norc --noprofile'
    tmux -L t send-keys 'echo pane $((20 + 3)); tty' Enter
    check split shown '^pane 23'
    check own-terminal shown '^/dev/pts/'
    check panes test "$(tmux -L t list-panes | wc -l)" = 2
    tmux -L t send-keys 'sleep 1000' Enter
    tmux -L t send-keys C-c
    tmux -L t send-keys 'echo status $?' Enter
    check interrupt shown '^status 130'
    tmux -L t resize-window -x 100 -y 30
    # The server tells the terminal a little later.
    tmux -L t send-keys 'clear; while [[ $(stty size) = 24* ]]; do sleep .1; done; stty size' Enter
    check resize shown '^30 |^29 '
    tmux -L t send-keys 'printf "\033[31mred\033[0m\n"; exit' Enter
    for _ in {1..50}; do [ "$(tmux -L t list-panes | wc -l)" = 1 ] && break; sleep 0.1; done
    check pane-closed test "$(tmux -L t list-panes | wc -l)" = 1
    check detached-client script -qc 'tmux -L t attach \; detach' /dev/null
    check kill-server tmux -L t kill-server
}
htop_() {
    sleep 12345 &
    check start tmux -L t -f /dev/null new-session -d -x 120 -y 40 'htop -C'
    check meters shown 'Mem\[.*[KMG]'
    check tasks shown 'Tasks: +[0-9]+'
    check process shown 'sleep 12345'
    tmux -L t send-keys F5
    check tree shown '(├|└|`|,|\|).*sleep 12345'
    tmux -L t send-keys F4 12345
    check filter shown 'Filter: 12345'
    tmux -L t send-keys Escape q
    for _ in {1..50}; do tmux -L t has-session 2>/dev/null || break; sleep 0.1; done
    check quit bash -c '! tmux -L t has-session 2>/dev/null'
    kill %1
}
strace_() {
    traced() { strace -o "$HOME/log" "$@"; }
    check pipeline traced -f sh -c 'echo a | cat | wc -c'
    check pipeline-calls has 'execve.*"cat"' 'execve.*"wc"' 'pipe2?\(' 'exited with 0' '(clone|fork)'
    check files traced -ff bash -c '(true); (exit 3) & wait $!; true'
    check statistics traced -f -c sh -c 'ls / | sort >/dev/null'
    check statistics-table has '% time' 'execve' '100\.00 .*total'
    check paths traced -y -e trace=openat cat /etc/hostname
    check paths-shown has '= [0-9]+</etc/hostname>'
    check signals traced bash -c 'trap : USR1; kill -USR1 $$'
    check signals-shown has 'SIGUSR1 \{si_signo=SIGUSR1, si_code=SI_USER' 'rt_sigreturn'
    check threads traced -f python3 -c 'import threading; t = threading.Thread(target=print); t.start(); t.join()'
    check threads-shown has 'clone3?\(.*CLONE_THREAD'
    check attach bash -c 'sleep 1000 & strace -o log2 -p $! & sleep 0.5; kill %1; wait %2; grep -q "killed by SIGTERM" log2'
    check inject traced -e inject=getppid:retval=77 -e trace=getppid python3 -c 'import os, sys; sys.exit(os.getppid() != 77)'
    check seccomp traced -f --seccomp-bpf -e trace=execve sh -c 'true | cat'
    check stack traced -k -e trace=exit_group true
    check fault bash -c 'strace -o log2 -e fault=openat:error=EIO:when=999 true'
}
gdb_() {
    check build program
    breakpoint() { debug -ex 'break add' -ex run -ex bt -ex finish -ex 'info registers rip' -ex delete -ex continue ./p && has '^#1 .*main' 'Value returned is' '^rip' 'sum 6' 'exited normally'; }
    check breakpoint breakpoint
    step() { debug -ex 'break main' -ex run -ex next -ex step -ex 'stepi 3' -ex 'print $pc' -ex kill ./p && has 'Breakpoint 1, main' '^\$1 = \(void \(\*\)\(\)\) 0x'; }
    check step step
    watch() { debug -ex 'break main' -ex run -ex 'watch shared' -ex continue -ex continue -ex 'print shared' -ex kill ./p && has 'Hardware watchpoint 2: shared' 'New value = 1' 'Old value = 1' 'New value = 3'; }
    check watchpoint watch
    condition() { debug -ex 'break add if b == 3' -ex run -ex 'print a' -ex 'set var a = 100' -ex delete -ex continue ./p && has '^\$1 = 3' 'sum 103'; }
    check condition condition
    call() { debug -ex 'break main' -ex run -ex 'print add(20, 22)' -ex kill ./p && has '^\$1 = 42'; }
    check call call
    catch() { debug -ex 'catch syscall write' -ex run -ex bt -ex delete -ex continue ./p && has 'Catchpoint 1 \(call to syscall write' 'exited normally'; }
    check catchpoint catch
    all() { grep -c '^#[0-9]* .*wait_here' "$HOME/log" | grep -qx 3 || { cat "$HOME/log"; return 1; }; }
    attach() { debug -p "$pid" -ex 'thread apply all bt' -ex detach && all && has 'Inferior 1 .* detached' && kill -0 "$pid"; }
    started
    check attach attach
    core() { debug -p "$pid" -ex 'generate-core-file core.p' -ex detach && has 'Saved corefile core.p'; }
    check generate-core-file core
    kill "$pid"
    read_core() { debug -ex 'thread apply all bt' -ex 'print shared' ./p core.p && all && has '^\$1 = 6' '^Core was generated by'; }
    check read-core read_core
    ulimit -c unlimited
    started
    dump() { kill -ABRT "$pid"; wait "$pid"; [ $? = 134 ] && ls core* >"$HOME/log"; }
    check dump dump
    kernel_core() { debug -ex 'thread apply all bt' ./p "$(ls -t core* | grep -v '^core\.p$' | head -n 1)" && all && has 'terminated with signal SIGABRT'; }
    [ "$(cat /proc/sys/kernel/core_pattern)" = core ] && check read-dump kernel_core
    server() { debug -ex "target extended-remote | gdbserver --once - ./p" -ex 'break add' -ex continue -ex kill ./p && has 'Breakpoint 1, add'; }
    command -v gdbserver >/dev/null && check gdbserver server
}
stress() { # STRESSOR
    timeout 50 stress-ng --"$1" 2 -t 1 --verify >"$HOME/log" 2>&1
    local status=$?
    if [ $status = 0 ] && grep -qiE 'skipp|must not run as root' "$HOME/log"; then
        echo "ok 1 - run # SKIP"
    else
        check run has_status $status
    fi
}
has_status() { [ "$1" = 0 ] || { echo "status $1"; cat "$HOME/log"; return 1; }; }

if [ "$(type -t "$1_")" = function ]; then "$1_"; else stress "$1"; fi
exit 0

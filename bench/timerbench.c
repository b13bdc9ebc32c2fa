/*
 * timerbench - what arming and cancelling a timer costs, one `name value insn` line each.
 *
 * A companion of kbench.c, whose lines are fixed by the recorded figures of Linux.  It runs as PID 1 of an otherwise empty initramfs
 * (and powers the machine off) or as an ordinary program.  Values are medians of samples of BATCH operations in RDTSC ticks; under
 * QEMU's `-icount shift=0` one tick is one guest instruction.  The loop itself is included.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 41, BATCH = 500, CROWD = 1000 };

static uint64_t now(void)
{
	uint32_t lo, hi;
	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

static int fd;
static int posix;
static const struct itimerspec on = { .it_value = { 3600, 0 } }, off;

static void timerfd_pair(void)
{
	syscall(SYS_timerfd_settime, fd, 0, &on, NULL);
	syscall(SYS_timerfd_settime, fd, 0, &off, NULL);
}

static void posix_pair(void)
{
	syscall(SYS_timer_settime, posix, 0, &on, NULL);
	syscall(SYS_timer_settime, posix, 0, &off, NULL);
}

static void alarm_pair(void)
{
	syscall(SYS_alarm, 3600);
	syscall(SYS_alarm, 0);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static void measure(const char *name, void (*op)(void))
{
	uint64_t samples[SAMPLES];
	for (int s = 0; s < SAMPLES; s++) {
		uint64_t start = now();
		for (int i = 0; i < BATCH; i++)
			op();
		samples[s] = (now() - start) / BATCH;
	}
	qsort(samples, SAMPLES, sizeof samples[0], by_value);
	printf("%s %llu insn\n", name, (unsigned long long)samples[SAMPLES / 2]);
}

int main(void)
{
	struct sigevent quiet = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	setvbuf(stdout, NULL, _IOLBF, 0);
	fd = timerfd_create(CLOCK_MONOTONIC, 0);
	syscall(SYS_timer_create, CLOCK_MONOTONIC, &quiet, &posix);
	measure("timer.timerfd_arm_cancel", timerfd_pair);
	measure("timer.posix_arm_cancel", posix_pair);
	measure("timer.alarm_arm_cancel", alarm_pair);
	/* The same among many that wait. */
	for (int i = 0; i < CROWD; i++) {
		struct itimerspec far = { .it_value = { 1800 + i % 97 * 61, i } };
		int other;
		if (!syscall(SYS_timer_create, CLOCK_MONOTONIC, &quiet, &other))
			syscall(SYS_timer_settime, other, 0, &far, NULL);
	}
	measure("timer.timerfd_arm_cancel_crowd", timerfd_pair);
	measure("timer.posix_arm_cancel_crowd", posix_pair);
	puts("timerbench done");
	if (getpid() == 1)
		reboot(RB_POWER_OFF);
	return 0;
}

// The storm itself: the forks, execs, threads and deaths of one container, all
// children of its pid 1, and what wait(2) says about each of them.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "worker.h"

#define MAX_THREADS 64
#define STACK 16384

static char stacks[MAX_THREADS][STACK] __attribute__((aligned(16)));
static volatile int tids[MAX_THREADS];

static char *env_true[] = {"EYAS_STORM_APPLET=true", NULL};
static char *env_false[] = {"EYAS_STORM_APPLET=false", NULL};
static char *env_again[] = {"EYAS_STORM_APPLET=again", NULL};
static char *argv_small[] = {"storm", NULL};

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void until(long long deadline)
{
	struct timespec t = {deadline / 1000000000LL, deadline % 1000000000LL};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static void forever(void) __attribute__((noreturn));
static void forever(void)
{
	for (;;)
		pause();
}

// CLONE_CHILD_CLEARTID wakes without FUTEX_PRIVATE_FLAG, so the wait has none.
static void wait_zero(volatile int *word, int seen)
{
	while (*word == seen)
		syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

// thread makes one kernel thread without a thread library, so that the count is
// ours alone. The threads share the leader's TLS: they only make system calls.
static void thread(int slot, int (*body)(void *))
{
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
	tids[slot] = 1;
	for (int tries = 0; clone(body, stacks[slot] + STACK, flags, NULL, NULL, NULL, &tids[slot]) < 0; tries++) {
		if (errno != EAGAIN || tries == 1000)
			_exit(NO_THREAD);
		until(now() + 1000000);
	}
}

static int body_return(void *unused) { return 0; }

static int body_sleep(void *unused) { forever(); }

int body_exec(void *unused)
{
	execve(SELF, argv_small, env_true);
	_exit(NO_EXEC);
}

static volatile int leader_alive = 1;

static int body_outlive(void *unused)
{
	wait_zero(&leader_alive, 1);
	syscall(SYS_exit_group, 3);
	return 0;
}

// op is the life of one storm child; what each op adds to the account is the
// table in package plan, which names them in the same order.
static void op(int kind, long number, int wide)
{
	static const int deadly[] = {SIGKILL, SIGTERM, SIGHUP, SIGUSR1, SIGALRM}; // none that dumps core
	switch (kind) {
	case OP_EXIT_ZERO:
		_exit(0);
	case OP_EXIT_CODE:
		_exit(1 + number % 100);
	case OP_SIGNAL:
		signal(deadly[number % 5], SIG_DFL); // a caller under nohup ignores SIGHUP
		kill(getpid(), deadly[number % 5]);
		forever();
	case OP_EXEC:
		execve(SELF, argv_small, env_true);
		_exit(NO_EXEC);
	case OP_EXEC_CODE:
		execve(SELF, argv_small, env_false);
		_exit(NO_EXEC);
	case OP_EXEC_TWICE:
		execve(SELF, argv_small, env_again);
		_exit(NO_EXEC);
	case OP_EXEC_MISSING: // a failed execve is no exec
		execve("/proc/self/nothing", argv_small, env_true);
		_exit(0);
	case OP_ORPHAN: // the grandchild is reaped by this namespace's pid 1
		switch (fork()) {
		case -1:
			_exit(NO_THREAD);
		default:
			_exit(0);
		}
	case OP_THREADS:
	case OP_THREADS_REST:
		for (int i = 0; i < wide; i++)
			thread(i, body_return);
		for (int i = 0; i < wide; i++)
			wait_zero(&tids[i], 1);
		_exit(0);
	case OP_LEADER_FIRST: // the leader is a zombie while a thread lives on
		syscall(SYS_set_tid_address, &leader_alive);
		thread(0, body_outlive);
		syscall(SYS_exit, 0);
		__builtin_unreachable();
	case OP_THREAD_EXEC: // the thread takes the leader's pid
		thread(0, body_exec);
		forever();
	case OP_THREAD_SIGNAL:
		thread(0, body_sleep);
		thread(1, body_sleep);
		kill(getpid(), SIGKILL);
		forever();
	}
	_exit(NO_THREAD);
}

static long long exited_zero, exited_code, exited_signal, broken;

// reap takes one dead child into the account. It returns how many it took.
static int reap(int flags)
{
	int status;
	pid_t pid = wait4(-1, &status, flags | __WALL, NULL);
	if (pid <= 0)
		return 0;
	if (WIFSIGNALED(status))
		exited_signal++;
	else if (WEXITSTATUS(status) == NO_EXEC || WEXITSTATUS(status) == NO_THREAD)
		broken++;
	else if (WEXITSTATUS(status))
		exited_code++;
	else
		exited_zero++;
	return 1;
}

static pid_t fork_surely(long *alive)
{
	for (int tries = 0;; tries++) {
		pid_t pid = fork();
		if (pid >= 0 || errno != EAGAIN || tries == 10000)
			return pid;
		if (*alive > 0 && reap(0))
			--*alive;
		else
			until(now() + 1000000);
	}
}

// run: "INTERVAL_NS BATCH WIDE REST COUNT..." makes COUNT of each op, mixed
// evenly, at absolute deadlines INTERVAL apart, with at most BATCH unreaped.
void run(char *text)
{
	long long interval = strtoll(text, &text, 10);
	long batch = strtol(text, &text, 10);
	int wide = strtol(text, &text, 10), rest = strtol(text, &text, 10);
	long long count[OPS], due[OPS] = {0}, total = 0, latest = 0;
	for (int k = 0; k < OPS; k++)
		total += count[k] = strtoll(text, &text, 10);
	if (wide > MAX_THREADS || rest > MAX_THREADS) {
		errno = E2BIG;
		return oops("threads of one process");
	}
	exited_zero = exited_code = exited_signal = broken = 0;
	long alive = 0;
	long long start = now();
	for (long long i = 0; i < total; i++) {
		int pick = 0;
		for (int k = 0; k < OPS; k++) {
			due[k] += count[k];
			if (due[k] > due[pick])
				pick = k;
		}
		due[pick] -= total;
		if (interval) {
			long long late = now() - (start + i * interval);
			if (late < 0)
				until(start + i * interval);
			else if (late > latest)
				latest = late;
		}
		pid_t pid;
		if (pick == OP_VFORK_EXEC)
			pid = clone(body_exec, stacks[0] + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
		else
			pid = fork_surely(&alive);
		if (pid == 0)
			op(pick, i, pick == OP_THREADS_REST ? rest : wide);
		if (pid < 0)
			return oops("fork");
		alive += pick == OP_ORPHAN ? 2 : 1;
		while (alive > 0 && reap(WNOHANG))
			alive--;
		while (alive >= batch && reap(0))
			alive--;
	}
	while (alive > 0 && reap(0))
		alive--;
	reply("ok %lld %lld %lld %lld %lld %lld", exited_zero, exited_code, exited_signal, broken, now() - start, latest);
}

// hold: "PROCESSES THREADS" leaves sleeping children; the last has the threads.
void hold(char *text)
{
	long processes = strtol(text, &text, 10), none = 0;
	int threads = strtol(text, &text, 10), ready[2];
	char byte = 0;
	if (threads > MAX_THREADS || pipe2(ready, O_CLOEXEC))
		return oops("hold");
	for (long i = 0; i < processes; i++) {
		pid_t pid = fork_surely(&none);
		if (pid < 0)
			return oops("fork");
		if (pid > 0)
			continue;
		close(sock);
		for (int t = 0; i == processes - 1 && t < threads; t++)
			thread(t, body_sleep);
		if (i == processes - 1 && write(ready[1], &byte, 1) != 1)
			_exit(NO_THREAD);
		close(ready[0]);
		close(ready[1]);
		forever();
	}
	close(ready[1]);
	if (processes > 0 && read(ready[0], &byte, 1) != 1)
		return oops("wait for threads");
	close(ready[0]);
	reply("ok");
}

// probe forks one child that says how every pid namespace above it has counted:
// the kernel hands pids out one by one, so the newest pid is the number of tasks
// ever born in that namespace and below it (until pid_max wraps it).
void probe(void)
{
	char line[1024] = "";
	int out[2], status;
	if (pipe2(out, O_CLOEXEC))
		return oops("pipe");
	pid_t pid = fork();
	if (pid == 0) {
		FILE *file = fopen("/proc/self/status", "re");
		while (file && fgets(line, sizeof(line), file))
			if (!strncmp(line, "NSpid:", 6) && write(out[1], line + 6, strlen(line + 6)) > 0)
				_exit(0);
		_exit(NO_THREAD);
	}
	close(out[1]);
	ssize_t n = pid < 0 ? -1 : read(out[0], line, sizeof(line) - 1);
	close(out[0]);
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (n <= 0 || status)
		return oops("probe");
	line[n] = 0;
	reply("ok %s", line);
}

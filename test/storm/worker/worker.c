// worker is the hand of storm: one static program that is every process inside
// the nested containers. It is C and not Go because the account has to be
// exact: Go's runtime starts threads when it likes, and cannot fork safely.
//
// It enters as a process with EYAS_STORM_APPLET in its environment (never in
// argv, which belongs to the hostile tests). "root" and "init" connect to the
// orchestrator's abstract unix socket and obey one text command per packet;
// every other applet does one small thing and exits. It touches namespaces,
// its own children and /proc/PID/{uid,gid}_map of the children it cloned;
// nothing else of the machine.
//
// When the orchestrator dies, recv() returns nothing and an init exits; a
// worker that is busy is killed by PR_SET_PDEATHSIG. Either way the kernel
// kills the whole pid namespace, so nothing outlives the storm.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker.h"

#define MAX_ARGS 1024

int sock = -1;
static const char *address; // name of the orchestrator's abstract socket
static char in[256 * 1024]; // one command; an id map is at most a page, argv more
static pid_t spawned[4096]; // direct children that are workers
static int nspawned;

void reply(const char *format, ...)
{
	char out[1024];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(out, sizeof(out), format, args);
	va_end(args);
	if (n >= (int)sizeof(out))
		n = sizeof(out) - 1;
	if (send(sock, out, n, MSG_NOSIGNAL) < 0)
		_exit(0);
}

void oops(const char *what) { reply("err %s: %s", what, strerror(errno)); }

static void serve(void) __attribute__((noreturn));

static void dial(const char *node)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t length = strlen(address);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	memcpy(to.sun_path + 1, address, length);
	if (connect(sock, (struct sockaddr *)&to, offsetof(struct sockaddr_un, sun_path) + 1 + length))
		_exit(0);
	reply("hello %s", node);
}

// spawn: "NODE FLAGS" clones a worker into new namespaces. It dials by itself,
// so that the orchestrator learns its host pid from the kernel (SO_PEERCRED).
static void spawn(char *text)
{
	char node[32];
	unsigned long flags;
	if (sscanf(text, "%31s %lu", node, &flags) != 2 || nspawned == sizeof(spawned) / sizeof(*spawned))
		return reply("err spawn: %s", text);
	pid_t pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return oops("clone");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sock);
		nspawned = 0;
		dial(node);
		serve();
	}
	spawned[nspawned++] = pid;
	reply("ok %d", pid);
}

// map: "PATH\nTEXT" writes an id map of a child, in one write as user_namespaces(7) demands.
static void map(char *path, const char *text, size_t length)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return oops(path);
	if (write(fd, text, length) != (ssize_t)length)
		oops("write id map");
	else
		reply("ok");
	close(fd);
}

// root becomes uid and gid 0 of the new user namespace. A change of credentials
// clears PDEATHSIG and the dumpable flag (commit_creds in kernel/cred.c), and
// without the latter /proc/PID/uid_map belongs to the host's root.
static void become_root(void)
{
	if (setgroups(0, NULL) || setresgid(0, 0, 0) || setresuid(0, 0, 0))
		return oops("become root");
	prctl(PR_SET_DUMPABLE, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	reply("ok");
}

// reexec replaces the program, with the NUL-ended arguments given. The answer
// comes from the new program, so "ok" proves one successful execve.
static void reexec(char *text, size_t length)
{
	static char *arguments[MAX_ARGS + 1];
	char *environment[3], fd[64], name[256];
	int n = 0;
	for (size_t at = 0; at < length && n < MAX_ARGS; at += strlen(text + at) + 1)
		arguments[n++] = text + at;
	if (!n)
		arguments[n++] = "storm-init";
	arguments[n] = NULL;
	snprintf(fd, sizeof(fd), "EYAS_STORM_APPLET=init:%d", sock);
	snprintf(name, sizeof(name), "EYAS_STORM_SOCKET=%s", address);
	environment[0] = fd;
	environment[1] = name;
	environment[2] = NULL;
	fcntl(sock, F_SETFD, 0);
	execve(SELF, arguments, environment);
	oops("execve");
}

// join: "PID USER" starts a process in another container the way an exec session
// does: a host process enters the namespaces, its child is born inside.
static void join(char *text)
{
	char path[64];
	long pid = strtol(text, &text, 10);
	int user = strtol(text, &text, 10), status = -1;
	pid_t helper = fork();
	if (helper == 0) {
		snprintf(path, sizeof(path), "/proc/%ld/ns/pid", pid);
		int pidns = open(path, O_RDONLY | O_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/%ld/ns/user", pid);
		int userns = open(path, O_RDONLY | O_CLOEXEC);
		if ((user && setns(userns, CLONE_NEWUSER)) || setns(pidns, CLONE_NEWPID))
			_exit(NO_THREAD);
		pid_t child = fork();
		if (child == 0)
			body_exec(NULL);
		if (child < 0 || waitpid(child, &status, 0) != child || status)
			_exit(NO_THREAD);
		_exit(0);
	}
	if (helper < 0 || waitpid(helper, &status, 0) != helper || status)
		return oops("join");
	reply("ok");
}

// end kills what this worker spawned and waits until no child is left: the death
// of a pid namespace's init completes only when all within are gone.
static void end(void)
{
	for (int i = 0; i < nspawned; i++)
		kill(spawned[i], SIGKILL);
	while (wait4(-1, NULL, __WALL, NULL) > 0 || errno == EINTR)
		;
	reply("ok");
}

static void obey(char *verb, char *text, size_t length)
{
	char *line = strchr(text, '\n'), *bytes = line ? line + 1 : text + length;
	size_t size = text + length - bytes;
	if (line)
		*line = 0;
	if (!strcmp(verb, "run"))
		run(text);
	else if (!strcmp(verb, "hold"))
		hold(text);
	else if (!strcmp(verb, "spawn"))
		spawn(text);
	else if (!strcmp(verb, "map"))
		map(text, bytes, size);
	else if (!strcmp(verb, "root"))
		become_root();
	else if (!strcmp(verb, "reexec"))
		reexec(bytes, size);
	else if (!strcmp(verb, "join"))
		join(text);
	else if (!strcmp(verb, "probe"))
		probe();
	else if (!strcmp(verb, "end"))
		end();
	else if (!strcmp(verb, "name"))
		prctl(PR_SET_NAME, bytes) ? oops("set name") : reply("ok");
	else if (!strcmp(verb, "hostname"))
		sethostname(bytes, size) ? oops("set hostname") : reply("ok");
	else
		reply("err unknown command");
}

static void serve(void)
{
	for (;;) {
		ssize_t n = recv(sock, in, sizeof(in) - 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		in[n] = 0;
		char *text = in + strcspn(in, " \n");
		size_t rest = in + n - text;
		// "verb\nbytes" and "verb words\nbytes" both leave text at what follows the verb.
		if (rest && *text == ' ') {
			*text++ = 0;
			rest--;
			obey(in, text, rest);
		} else {
			char verb[16];
			snprintf(verb, sizeof(verb), "%.*s", (int)(text - in), in);
			obey(verb, text, rest);
		}
	}
}

int main(void)
{
	const char *applet = getenv("EYAS_STORM_APPLET");
	if (!applet)
		return 2;
	if (!strcmp(applet, "true"))
		_exit(0);
	if (!strcmp(applet, "false"))
		_exit(1);
	if (!strcmp(applet, "again")) {
		body_exec(NULL);
	}
	address = getenv("EYAS_STORM_SOCKET");
	if (!address || strlen(address) > 90)
		return 2;
	if (!strncmp(applet, "init:", 5)) {
		sock = atoi(applet + 5);
		fcntl(sock, F_SETFD, FD_CLOEXEC);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		reply("ok");
		serve();
	}
	if (!strcmp(applet, "root")) {
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		dial("0");
		serve();
	}
	return 2;
}

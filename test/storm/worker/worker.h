// What the two halves of the worker share.
#include <sys/types.h>

#include "ops.h"

#define SELF "/proc/self/exe"
#define NO_EXEC 120   // exit code: an execve that had to succeed did not
#define NO_THREAD 121 // exit code: a thread or fork inside a child failed

extern int sock; // the connection to the orchestrator

// worker.c
void reply(const char *format, ...) __attribute__((format(printf, 1, 2)));
void oops(const char *what); // answers "err WHAT: errno"

// storm.c: commands; each answers once
void run(char *text);
void hold(char *text);
void probe(void);
int body_exec(void *unused); // execs a program that exits 0

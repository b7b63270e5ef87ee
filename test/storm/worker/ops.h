// The kinds of storm children. Package plan names them in the same order and
// says what each adds to the account; a test holds the two together.
enum {
	OP_EXIT_ZERO,
	OP_EXIT_CODE,
	OP_SIGNAL,
	OP_EXEC,
	OP_EXEC_CODE,
	OP_EXEC_TWICE,
	OP_EXEC_MISSING,
	OP_VFORK_EXEC,
	OP_ORPHAN,
	OP_THREADS,
	OP_THREADS_REST,
	OP_LEADER_FIRST,
	OP_THREAD_EXEC,
	OP_THREAD_SIGNAL,
	OPS
};

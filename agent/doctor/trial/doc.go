// Package trial tries, inside a container and as its user, what an engine in it
// would do: make a user namespace and map ids with the container's newuidmap
// and newgidmap, mount a procfs and an overlay there, make a cgroup with limits
// and put a process into it. It is done when somebody asks, never by the agent.
//
// What enters: descriptors of the container's first process, its root and its
// cgroups, and a Request. What leaves: a Report, whose text a tenant may have
// written: bounded, never a path or a key, to be escaped when printed.
//
// # Who runs
//
// All are this program, started anew, and told apart by a stage:
//
//	host     root on the node, with a memory of its own: nothing of its caller's is in what it forks
//	inside   pid 1 of a pid namespace in the container's, as its user
//	nested   in a user, mount and pid namespace that inside makes
//	hold     waits; a process to move into a cgroup
//
// Between host and inside are three forks that only make system calls (fork.go),
// because a process with threads cannot enter a user namespace, and a Go program
// has threads before its first line. The first child enters the container's
// namespaces, the second is in its pid namespace, the third in one below that: it
// becomes the container's user, and only then executes anything.
//
// # Why is this safe?
//
// Everything in the container is hostile: its processes can see inside, and as
// its user or root trace and kill it; its newuidmap can be any program.
//
//   - A program of the container runs with nothing but what the container can give
//     its own processes: its user, groups, bounding set, no_new_privs, seccomp
//     filters (read by ptrace from the first process, which is stopped for that
//     moment), namespaces, root, cgroup and resource limits. LSM profiles are not
//     taken on; a container whose first process is root of the node and that has
//     a profile, or filters that cannot be read, is therefore not tried.
//   - /proc/PID/exe of such a process must not be the node's eyas: a root in the
//     container that can open it could overwrite it (CVE-2019-5736). As with runc,
//     host and all after it run from a sealed copy in a memfd.
//   - Until that exec the process has the memory and descriptors of host. It is
//     made undumpable before it enters anything, and its memory belongs to the
//     node's user namespace, so no capability in the container's counts for it:
//     not traced, and its /proc/PID/{mem,fd,exe,cwd} cannot be opened. The exec
//     replaces the memory; before it, all descriptors but three pipes are closed.
//   - It has a session of its own, so no terminal to push input into, an empty
//     session keyring, an empty environment, and its working directory is the
//     container's root (CVE-2024-21626).
//   - It ends in time: inside is pid 1 of its pid namespace, and the kernel ends
//     all in it, daemons too, with it. host kills it at the deadline, at its
//     caller's end (stdin ends), and the kernel does at host's own (pdeathsig).
//   - Only the trial's cgroup is made outside of namespaces that vanish. host
//     removes it, then its caller once more. Only if both are killed with SIGKILL
//     an empty cgroup eyas-try-* stays behind in the container's, without a process.
//     One into which the tenant moves processes of its own stays too, and is told.
//
// What a tenant can do is make the trial fail, or lie about itself. It costs the
// container up to a dozen threads and some memory for a second; if
// there is none, the kernel ends the trial first (oom_score_adj).
package trial

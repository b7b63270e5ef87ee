// Package enter starts a program in a container of this node, as somebody who
// looks after the node does at night: in the namespaces of a process of the
// container, as its root or another of its users, and in its cgroup.
//
// What enters: a host pid that the caller has found to be of the container.
// What leaves: a script for sh that a person can read and run, or the program
// itself in place of this one. Both are the same call of nsenter(1) of
// util-linux: a program with threads, as each in Go is, cannot enter a user
// namespace.
//
// # The race between finding and entering
//
// A pid can be another process's at any time. So nothing is entered by pid: the
// directory /proc/PID is made the working directory, which keeps naming the
// process that it was opened for, also when that has died and its pid is
// another's; then the start time is compared; and then nsenter opens the
// namespaces relative to it. What has died has none, and nsenter fails.
//
// # What it is not
//
// What is started has all capabilities of the container's user namespace (as
// another user than root: none), and neither the container's seccomp filters,
// nor its LSM profile, nor its resource limits but those of the cgroup. Its
// environment is a new one: that of the caller may hold secrets, and the
// container's is not read. Everything in a container can be hostile: once
// started, the program is the container's own, and has the caller's terminal.
package enter

// Package files reads what containers write to their standard streams from the files
// of their own runtimes, where the kernel's programs cannot tell it.
//
// What enters: the identity table, and log files below the roots of sandboxes. What
// leaves: records as the programs make them, so that all that follows is the same. It
// opens regular files, only below the root of the sandbox whose runtime it is, reads
// no more than a rate for each container, and writes nothing.
//
// Whose file it is, the runtime's id in its path says: the container in that sandbox
// that has this id by name, cgroup or host name. Of one that nobody knows by then, as
// when it was gone at once, it is told as a container of the sandbox.
//
// What is in a file, also its times, is the sandbox's word. It is read once the agent
// has begun: what is older is not told. Each sandbox is read by a goroutine of its
// own, because a sandbox can make a read wait.
package files

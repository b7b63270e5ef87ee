// Package evidence answers "what is this container?" from what the kernel and
// a sandbox's own files say: runtime, id, name and image.
//
// What enters: cgroup paths, mountinfo, and the state files that podman, docker
// and buildah keep inside a sandbox. What leaves: CgroupRefs and Claims. What it
// may touch: it reads regular files below a Root and /proc/PID/mountinfo, and
// never writes, executes, or asks a runtime's socket.
//
// Everything read from inside a sandbox is written by a possibly hostile
// tenant. Three consequences shape the package:
//
//   - A claim names a container that namespaces have shown to exist; it never
//     shows that one exists, and never moves a process from one sandbox to
//     another. Whoever may write a cgroup subtree chooses the names in it, so
//     the outermost refs of a path outrank the inner ones.
//   - Files are found by the kernel below the sandbox's root (openat2 with
//     RESOLVE_IN_ROOT), looked at before they are opened for reading, and read
//     no further than their size, which is capped.
//   - Text that leaves is bounded, valid UTF-8 and free of NUL, but raw: escape
//     sequences are still in it. Whoever prints it escapes it.
//
// Not covered: a sandbox that may mount FUSE as the node's uid 0, or a network
// file system, can make a read below its root wait. (FUSE mounted by another
// user inside a user namespace answers EACCES to the node's; fs/fuse/dir.c,
// fuse_allow_current_process.) Callers give reads a goroutine and a deadline.
package evidence

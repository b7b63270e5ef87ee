// Package identity knows who is who: which container, at which nest level, a
// process belongs to, and which ids it has at every level.
//
// What enters: records of package bpf, and names found elsewhere. What leaves:
// the table of live processes, namespaces and containers, and Identity, the
// answer to "who is this?". It is a leaf: it opens no file, starts no
// goroutine, and asks no clock; whoever owns a Table serialises access to it.
//
// Words: the chain of a process is node ▸ container ▸ nested container ▸ …;
// its level counts containers from the node (level 0) inwards. Levels of pid
// namespaces and of user namespaces are counted by the kernel, apart.
package identity

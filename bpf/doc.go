// Package bpf is the kernel side: programs that tell who every nested process
// is, and the loader, decoder and self-test that go with them.
//
// What enters: kernel events and task iterations. What leaves: decoded records
// (Process, Exit, Attach, Hint, UserNS), counts per innermost namespaces, and
// the state of every hook. It is the only package that speaks bpf(2). It
// changes nothing on the machine; what it loads vanishes with the process.
//
// A Monitor belongs to one goroutine for reading events; snapshots, counts and
// stats may be asked for concurrently.
package bpf

// Package host proves the agent against the kernel it runs on. Its tests need
// root and the build tag host; they start the real binary and real nested
// workloads, and hold every answer against /proc, which is the oracle.
//
// The same test binary runs in the virtual machines of test/vm: there the
// programs come from the environment, EYAS_BIN and EYAS_STORM.
package host

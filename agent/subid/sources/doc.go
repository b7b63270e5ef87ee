// Package sources reads from the machine what package subid must know: which
// ids others hold, and whether anybody uses a range still.
//
// What enters: /etc/passwd, group, subuid, subgid and nsswitch.conf, kubelet's
// records of pods, and procfs; each below a root that the caller names. What
// leaves: claims and warnings (Host.Snapshot), and proofs (Prover). What it may
// touch: it reads. It writes nothing, starts no program and asks no server, so
// users that only LDAP or NIS know are not in a snapshot.
//
// A source that cannot be read is an error, not an empty one: whoever leases
// then would take what others have. Every file is bounded; processes and mount
// namespaces of tenants are read through the kernel's own numbers, and no text
// of theirs leaves.
package sources

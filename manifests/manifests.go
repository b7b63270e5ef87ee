// Package manifests holds how eyas is installed in a cluster: what is applied, and what
// the agent itself puts on a node.
package manifests

import _ "embed" // the files

// DaemonSet and Config are the agent's, without what an overlay changes.
var (
	//go:embed base/daemonset.yaml
	DaemonSet []byte
	//go:embed base/config.yaml
	Config []byte
)

// Profiles are what sandboxes may name as Localhost profiles, by the file's name.
func Profiles() map[string][]byte {
	return map[string][]byte{"sandbox.json": seccomp}
}

//go:embed profiles/seccomp/sandbox.json
var seccomp []byte

// Package manifests holds how eyas is installed in a cluster: what is applied, and what
// the agent itself puts on a node.
package manifests

import (
	"bytes"
	"embed"
	"fmt"
	"path"

	"go.yaml.in/yaml/v3"
)

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

// Examples are the directories of the examples, by the workload of `eyas advise`.
func Examples() map[string]string {
	return map[string]string{"build": "examples/buildkit", "dev": "examples/devenv"}
}

// Example returns all documents of an example, in the order in which they are applied.
func Example(dir string) ([]byte, error) {
	b, err := examples.ReadFile(path.Join(dir, "kustomization.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read an example: %w", err)
	}
	var k struct{ Resources []string }
	if err := yaml.Unmarshal(b, &k); err != nil {
		return nil, fmt.Errorf("read an example: %w", err)
	}
	var parts [][]byte
	for _, name := range k.Resources {
		b, err := examples.ReadFile(path.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("read an example: %w", err)
		}
		parts = append(parts, b)
	}
	return bytes.Join(parts, []byte("---\n")), nil
}

//go:embed examples
var examples embed.FS

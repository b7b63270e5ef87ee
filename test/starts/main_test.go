//go:build host

package starts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "the tests of container starts need root")
		os.Exit(1)
	}
	code := m.Run()
	if err := errors.Join(closeShared(), os.RemoveAll(built)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// shared is the node of the tests that need none of their own.
var (
	shared      *node
	startShared = sync.OnceValue(func() (err error) {
		shared, err = newNode(context.Background())
		return err
	})
)

// theNode returns it; when the test fails, containerd's log is shown.
func theNode(t testing.TB) *node {
	t.Helper()
	if err := startShared(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("containerd's log:\n%s", shared.containerdLog())
		}
	})
	return shared
}

func closeShared() error {
	if shared == nil {
		return nil
	}
	return shared.close()
}

// peer is the folder that has containerd.
var peer = sync.OnceValues(func() (string, error) {
	c := exec.Command("../peers/build", "containerd")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("build containerd: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
})

// built is where binary builds; TestMain removes it.
var built string

// binary is the eyas to test: $EYAS_BIN, or one built here.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("EYAS_BIN"); path != "" {
		return path, nil
	}
	var err error
	if built, err = os.MkdirTemp("", "eyas-bin"); err != nil {
		return "", err
	}
	path := filepath.Join(built, "eyas")
	c := exec.Command("go", "build", "-o", path, "github.com/eyas-agent/eyas/agent")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build eyas: %w: %s", err, out)
	}
	return path, nil
})

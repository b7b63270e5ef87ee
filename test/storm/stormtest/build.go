package stormtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const importPath = "github.com/eyas-agent/eyas/test/storm"

// Build makes the static programs storm and storm-worker in a directory, for
// this machine or a guest of its architecture. It needs Go and a C compiler with
// a static C library ($CC, or gcc), and must run inside the module. Concurrent
// builds into one directory take turns; programs are replaced by rename, so one
// that runs is not disturbed.
func Build(ctx context.Context, dir string) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("build storm: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return fmt.Errorf("build storm: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	fresh, err := os.MkdirTemp(dir, "build")
	if err != nil {
		return fmt.Errorf("build storm: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()

	source, err := output(ctx, nil, "go", "list", "-f", "{{.Dir}}", importPath)
	if err != nil {
		return err
	}
	c := filepath.Join(strings.TrimSpace(source), "worker")
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "gcc"
	}
	if _, err := output(ctx, []string{"CGO_ENABLED=0"}, "go", "build", "-o", filepath.Join(fresh, "storm"), importPath); err != nil {
		return err
	}
	if _, err := output(ctx, nil, compiler, "-O2", "-static", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror",
		"-o", filepath.Join(fresh, "storm-worker"), filepath.Join(c, "worker.c"), filepath.Join(c, "storm.c")); err != nil {
		return err
	}
	for _, name := range []string{"storm-worker", "storm"} {
		if err := os.Rename(filepath.Join(fresh, name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("install %s: %w", name, err)
		}
	}
	return nil
}

// Binary returns a storm that can be run: $EYAS_STORM where it is set, as in a
// guest without compilers, else one built into the user's cache directory.
func Binary(ctx context.Context) (string, error) {
	if path := os.Getenv("EYAS_STORM"); path != "" {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "eyas-storm")
	if err := Build(ctx, dir); err != nil {
		return "", err
	}
	return filepath.Join(dir, "storm"), nil
}

func output(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

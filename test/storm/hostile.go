package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/test/storm/account"
	"github.com/eyas-agent/eyas/test/storm/plan"
)

// The kernel's limits on what a container can call itself.
const (
	commBytes     = 15  // TASK_COMM_LEN without its NUL
	hostnameBytes = 64  // __NEW_UTS_LEN
	nameBytes     = 255 // NAME_MAX, of a cgroup's directory
)

// hostileCases are names made to break who prints, splits, labels or stores
// them. Comm and argv hold any byte but NUL, a hostname any at all, a cgroup's
// name all but "/" and newline (cgroup_mkdir refuses that) and NUL.
func hostileCases() []account.Hostile {
	ansi := "\x1b[2J\x1b[31mroot\x1b]0;owned\a"
	broken := "\xff\xfe\xc3\x28\xed\xa0\x80\xf5"
	inject := `x",pod="kube-system/other",nested="`
	return []account.Hostile{
		{Case: "newline", Comm: []byte("a\nPid:\t1\nUid:\t0"), Hostname: []byte("host\nname\r\nx"),
			Argv: arguments("line\nNSpid:\t1\n", "\n", "\r\n\t"), Cgroup: []byte("tab\there\rcr")},
		{Case: "ansi", Comm: []byte("\x1b[2J\x1b[31mroot"), Hostname: []byte(ansi),
			Argv: arguments(ansi, "\x1b[8m", "\a\b\x7f"), Cgroup: []byte(ansi)},
		{Case: "utf8", Comm: []byte(broken + "abcdefg"), Hostname: []byte(broken),
			Argv: arguments(broken, "\xc0\xaf", "\u202e\u2066rtl"), Cgroup: []byte(broken)},
		{Case: "label", Comm: []byte(`",pod="a"} 1 `), Hostname: []byte(inject + "} 1"),
			Argv: arguments(inject, `\`, `{}'"`), Cgroup: []byte(`",}{` + strings.ReplaceAll(inject, "/", "-"))},
		{Case: "stat", Comm: []byte(") R 1 1 1 (x) S"), Hostname: []byte(") R 1"),
			Argv: arguments(") R 1 1", "(", ""), Cgroup: []byte("0::..\\x2f..  (deleted)")},
		{Case: "long", Comm: bytes.Repeat([]byte{'"'}, commBytes), Hostname: bytes.Repeat([]byte("\x1b\"\n\xff"), hostnameBytes/4),
			Argv: arguments(strings.Repeat("A\x1b\"\n\xff", 1600), "b", ""), Cgroup: bytes.Repeat([]byte("\x1b\"}\xff,"), nameBytes/5)},
	}
}

// arguments is an argv of 102 parts and more than 4 KiB.
func arguments(first, second, third string) [][]byte {
	argv := [][]byte{[]byte(first), bytes.Repeat([]byte("long "+third), 700)}
	for range 100 {
		argv = append(argv, []byte(second+first[:min(len(first), 40)]))
	}
	return argv
}

func runHostile(ctx context.Context, s *session, f *flag.FlagSet, args []string) (err error) {
	cgroup := f.String("cgroup", "", "cgroup v2 directory of the caller's own, for hostile cgroup names")
	level := f.Int("level", 2, "level of the containers")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *cgroup != "" {
		if err := checkCgroup(*cgroup); err != nil {
			return err
		}
	}
	cases := hostileCases()
	tree, err := plan.Nest(len(cases), *level)
	if err != nil {
		return err
	}
	var made []string
	defer func() { // when everything is gone, so the directories are empty
		for _, dir := range made {
			err = errors.Join(err, os.Remove(dir))
		}
	}()
	return s.stage(ctx, func(ctx context.Context, st *storm) error {
		started, next := time.Now(), 0
		err := st.build(ctx, tree, func(n *node) ([]byte, error) {
			if !n.Target {
				return nil, nil
			}
			h := cases[next]
			next++
			n.hostile = &h
			if *cgroup == "" {
				h.Cgroup = nil
			} else {
				dir := filepath.Clean(*cgroup) + "/" + string(h.Cgroup) // Join would eat ".."
				if err := os.Mkdir(dir, 0o755); err != nil {
					return nil, fmt.Errorf("make cgroup: %w", err)
				}
				made = append(made, dir)
				if err := os.WriteFile(dir+"/cgroup.procs", fmt.Append(nil, n.worker.pid), 0); err != nil {
					return nil, fmt.Errorf("enter cgroup: %w", err)
				}
			}
			if _, err := n.worker.call(ctx, "hostname\n%s", h.Hostname); err != nil {
				return nil, err
			}
			return append(bytes.Join(h.Argv, []byte{0}), 0), nil
		})
		if err != nil {
			return err
		}
		for _, n := range st.targets() {
			if _, err := n.worker.call(ctx, "name\n%s", n.hostile.Comm); err != nil {
				return err
			}
			if err := n.hold(ctx, 2, 1); err != nil {
				return err
			}
			if err := checkHostile(n); err != nil {
				return err
			}
		}
		if err := s.ready(ctx, st, started); err != nil {
			return err
		}
		return s.waitQuit(ctx)
	})
}

// checkHostile reads back what the kernel kept: what is reported is what is there.
func checkHostile(n *node) error {
	for file, want := range map[string][]byte{
		"comm":    append(bytes.Clone(n.hostile.Comm), '\n'),
		"cmdline": append(bytes.Join(n.hostile.Argv, []byte{0}), 0),
	} {
		got, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", n.worker.pid, file))
		if err != nil {
			return fmt.Errorf("read back %s: %w", file, err)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("hostile case %s: kernel has %s %q, want %q", n.hostile.Case, file, got, want)
		}
	}
	return nil
}

// checkCgroup refuses everything but a cgroup v2 directory below the root of its
// mount: the root, and an empty path that would become it, belong to the machine.
func checkCgroup(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("check cgroup %q: not an absolute path", dir)
	}
	var own, above unix.Statfs_t
	if err := unix.Statfs(dir, &own); err != nil {
		return fmt.Errorf("check cgroup %q: %w", dir, err)
	}
	if err := unix.Statfs(filepath.Dir(filepath.Clean(dir)), &above); err != nil {
		return fmt.Errorf("check cgroup %q: %w", dir, err)
	}
	if own.Type != unix.CGROUP2_SUPER_MAGIC || above.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("check cgroup %q: not a child of a cgroup v2 mount's root", dir)
	}
	return nil
}

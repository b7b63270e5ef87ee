//go:build host

package prepare

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// untold is what a runtime asks for that does not tell the user. sandbox is 0
// for a container without a user namespace.
func untold(id string, sandbox identity.HostPID) Reservation {
	return Reservation{ID: id, Owner: ledger.Owner{ContainerID: id}, Sandbox: sandbox, Profile: Profiles()[0]}
}

// stage is a container that its runtime prepares in two stages.
type stage struct {
	*rig
	*container
	name    string
	sandbox identity.HostPID
}

func (r *rig) stage(own bool) stage {
	r.Helper()
	name := fmt.Sprintf("s%d", len(r.all))
	s := stage{rig: r, name: name, container: r.start(name, own)}
	if own {
		s.sandbox = s.pid()
	}
	return s
}

// files returns the text of the two files, and the inodes that a runtime mounts.
func (s stage) files() (text [2]string, inodes [2]uint64) {
	s.Helper()
	for i, name := range fileNames {
		path := filepath.Join(s.options().Files, s.name, name)
		b, err := os.ReadFile(path)
		var st unix.Stat_t
		if err := errors.Join(err, unix.Stat(path, &st)); err != nil {
			s.Fatal(err)
		}
		text[i], inodes[i] = string(b), st.Ino
	}
	return text, inodes
}

// want is what the files have for a user in the end.
func (s stage) want(user int, l ledger.Lease) [2]string {
	text := fmt.Sprintf("%d:%d:65536\n", user, l.Range.Start)
	switch {
	case s.own && user == 0:
		text = "0:1:65535\n"
	case s.own:
		text = fmt.Sprintf("%d:1:%d\n%d:%d:%d\n", user, user-1, user, user+1, 65535-user)
	}
	return [2]string{text, text}
}

// settled checks a lease that was handed over to a user.
func (s stage) settled(r Result, err error, user int, inodes [2]uint64) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
	host := uint32(user)
	if s.own {
		host += 300000
	}
	l := r.Lease
	if l.UID != host || l.GID != host || l.State != ledger.Done || l.Unsettled || l.CgroupID != s.id {
		s.Errorf("handed over: %+v", l)
	}
	text, now := s.files()
	if text != s.want(user, l) || now != inodes {
		s.Errorf("files %q, want %q; inodes %v, want %v", text, s.want(user, l), now, inodes)
	}
	if s.own && strings.Join(l.InPod, "\n")+"\n" != text[0] {
		s.Errorf("on record: %q", l.InPod)
	}
	owners := s.owners(s.container)
	if of := fmt.Sprintf(" of %d:%d", host, host); host != 0 && (len(owners) == 0 || slices.ContainsFunc(owners, func(o string) bool { return !strings.HasSuffix(o, of) })) {
		s.Errorf("the cgroup is %v, want%s", owners, of)
	}
}

// TestCrashBetweenStages kills the agent at each fault point of Reserve and of a
// HandOver that finds another user than was reserved for.
func TestCrashBetweenStages(t *testing.T) {
	r := newRig(t)
	for _, own := range []bool{true, false} {
		for what, least := range map[string]int{"reserve": 6, "hand over": 15, "hand over, and the container ends": 15} {
			n := 1
			for r.crashStage(what, own, n) {
				if n++; t.Failed() {
					t.Fatalf("%s, own ids %v, killed at fault point %d", what, own, n-1)
				}
			}
			t.Logf("%d points of %s, own ids %v", n-1, what, own)
			if n-1 < least {
				t.Errorf("%s, own ids %v: killed %d times only", what, own, n-1)
			}
		}
	}
}

// crashStage reports whether the agent came to the fault point.
func (r *rig) crashStage(what string, own bool, n int) (killed bool) {
	r.Helper()
	r.dir = r.TempDir()
	s := r.stage(own)
	s.lease = s.name
	reserve, start := call{Do: "reserve", ID: s.name, PID: s.sandbox}, call{Do: "hand over", ID: s.name, PID: s.pid()}
	if what == "reserve" {
		_, killed = r.run(n, 0, reserve)
		r.check()
	} else if said, _ := r.run(0, 0, reserve); said[0].Err != "" || !said[0].Lease.Unsettled {
		r.Fatalf("%+v", said)
	}
	p := r.open()
	if what == "reserve" { // as for a new container: this one was not told of anything
		if _, err := p.Reserve(r.Context(), untold(s.name, s.sandbox)); err != nil {
			r.Fatal(err)
		}
	}
	_, inodes := s.files()
	if what != "reserve" {
		r.close(p)
		_, killed = r.run(n, 0, start)
		r.check()
		if _, now := s.files(); now != inodes {
			r.Errorf("the mounted files were replaced: %v, %v", inodes, now)
		}
		p = r.open()
	}
	defer r.close(p)
	r.agree(p)
	if ends := strings.HasSuffix(what, "ends"); !ends {
		if rep := r.reconcile(p); rep.Live != 1 || len(rep.Released) > 0 {
			r.Errorf("reconciled: %+v", rep)
		}
		for range 2 {
			res, err := p.HandOver(r.Context(), s.name, Place{PID: s.pid()}, Profiles()[0])
			s.settled(res, err, 1000, inodes)
		}
		s.done = true
		r.check()
		r.agree(p)
	}
	s.end()
	var held *subid.NotReleasedError
	if _, err := p.Drop(r.Context(), s.name); err != nil && !errors.As(err, &held) {
		r.Error(err)
	}
	r.reconcile(p)
	r.agree(p)
	r.over()
	r.forget(s.container)
	return killed
}

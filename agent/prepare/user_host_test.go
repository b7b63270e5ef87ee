//go:build host

package prepare

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// parkAs starts a process in the container's cgroup and in a user namespace that
// maps root to 300000. cred nil: its ids are this process's, which the map lacks.
func (s stage) parkAs(cred *syscall.Credential) identity.HostPID {
	s.Helper()
	f, err := os.Open(s.mount + s.cgroup)
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	whole := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 300000, Size: 65536}}
	cmd := exec.Command("sleep", "76003")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(f.Fd()), Cloneflags: syscall.CLONE_NEWUSER, UidMappings: whole, GidMappings: whole, Credential: cred,
	}
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { stop(cmd) })
	s.users = append(s.users, cmd)
	return identity.HostPID(cmd.Process.Pid)
}

// The cgroup and the ids are the user's that runs, whatever the runtime told.
func TestToldAndSeen(t *testing.T) {
	as := func(id uint32) *syscall.Credential { return &syscall.Credential{Uid: id, Gid: id, NoSetGroups: true} }
	for name, tc := range map[string]struct {
		told *User
		cred *syscall.Credential
		want int
		note string
	}{
		"not told":               {nil, as(1000), 1000, ""},
		"not told, root":         {nil, as(0), 0, ""},
		"told":                   {&User{1000, 1000}, as(1000), 1000, ""},
		"told root":              {&User{0, 0}, as(0), 0, ""},
		"told another":           {&User{2000, 2000}, as(1000), 1000, "not 302000 and 302000 as the runtime told"},
		"told root, is another":  {&User{0, 0}, as(1000), 1000, "not 300000 and 300000 as the runtime told"},
		"told, still root":       {&User{2000, 2000}, as(0), 2000, ""},
		"told, still outside":    {&User{2000, 2000}, nil, 2000, ""},
		"told another of group":  {&User{1000, 2000}, as(1000), 1000, "not 301000 and 302000 as the runtime told"},
		"told, and not the pid":  {&User{2000, 2000}, as(1000), 2000, ""},
		"told, and the pid gone": {&User{2000, 2000}, as(1000), 2000, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			p := r.open()
			defer r.close(p)
			s := r.stage(true)
			v := untold(s.name, s.sandbox)
			v.User = tc.told
			before, err := p.Reserve(t.Context(), v)
			if err != nil {
				t.Fatal(err)
			}
			if before.Lease.Unsettled != (tc.told == nil) {
				t.Errorf("reserved: %+v", before.Lease)
			}
			_, inodes := s.files()
			at := Place{PID: s.parkAs(tc.cred), Cgroup: s.cgroup}
			switch {
			case strings.HasSuffix(name, "not the pid"):
				at.PID = 0
			case strings.HasSuffix(name, "gone"):
				stop(s.users[0])
			}
			got, err := p.HandOver(t.Context(), s.name, at, v.Profile)
			s.settled(got, err, tc.want, inodes)
			if notes := strings.Join(got.Notes, "; "); !strings.Contains(notes, tc.note) || (tc.note == "") != (notes == "") {
				t.Errorf("notes %q, want %q", notes, tc.note)
			}
			// What is done stays, whoever the process is by now.
			other, err := p.HandOver(t.Context(), s.name, Place{PID: s.parkAs(as(3000))}, v.Profile)
			s.settled(other, err, tc.want, inodes)
		})
	}
}

// Who was not told and cannot see hands nothing over, and says why; when it
// sees it does.
func TestUnseen(t *testing.T) {
	r := newRig(t)
	p := r.open()
	defer func() { r.close(p) }()
	s, elsewhere := r.stage(true), r.stage(true)
	if _, err := p.Reserve(t.Context(), untold(s.name, s.sandbox)); err != nil {
		t.Fatal(err)
	}
	text, inodes := s.files()
	refused := func(what string, at Place, want string) {
		t.Helper()
		before := r.leases()[s.name]
		_, err := p.HandOver(t.Context(), s.name, at, Profiles()[0])
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
		if l := r.leases()[s.name]; !l.Equal(before) || l.State != ledger.Intent || !l.Unsettled {
			t.Errorf("%s: %+v", what, l)
		}
		if now, _ := s.files(); now != text {
			t.Errorf("%s: files %q", what, now)
		}
		if got := r.owners(s.container); len(got) > 0 {
			t.Errorf("%s: %v", what, got)
		}
	}
	gone := s.parkAs(&syscall.Credential{NoSetGroups: true})
	stop(s.users[0])
	host := container{cmd: r.park(r.abs(s.name), false)}
	refused("no pid", Place{Cgroup: s.cgroup}, "does not tell its pid")
	refused("gone", Place{PID: gone, Cgroup: s.cgroup}, "no such process")
	refused("not mapped", Place{PID: s.parkAs(nil)}, "host uid 0 and gid 0, which its own map lacks")
	refused("not in the namespace", Place{PID: host.pid()}, "not in the user namespace of its sandbox")
	host.end()

	// Killed when it had seen the process, it takes no other one's.
	r.close(p)
	if _, killed := r.run(3, 0, call{Do: "hand over", ID: s.name, PID: s.pid()}); !killed || r.leases()[s.name].UID != 301000 {
		t.Fatalf("killed %v: %+v", killed, r.leases()[s.name])
	}
	p = r.open()
	text, _ = s.files()
	refused("another's pid", Place{PID: elsewhere.pid()}, "it is another's by now")
	refused("no pid again", Place{Cgroup: s.cgroup}, "does not tell its pid")
	got, err := p.HandOver(t.Context(), s.name, Place{PID: s.pid()}, Profiles()[0])
	s.settled(got, err, 1000, inodes)
}

// Files that were never written were never mounted.
func TestFilesMissing(t *testing.T) {
	r := newRig(t)
	p := r.open()
	defer r.close(p)
	s := r.stage(false)
	if _, err := p.Reserve(t.Context(), untold(s.name, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p.FilesDir(s.name) + "/subgid"); err != nil {
		t.Fatal(err)
	}
	_, err := p.HandOver(t.Context(), s.name, Place{PID: s.pid()}, Profiles()[0])
	if err == nil || !strings.Contains(err.Error(), "subgid of lease "+s.name) || !strings.Contains(err.Error(), "without it") {
		t.Errorf("%v", err)
	}
	if got := r.owners(s.container); len(got) > 0 {
		t.Errorf("handed over: %v", got)
	}
}

package doctor

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]version{
		"runc version 1.1.5+ds1": {1, 1},
		"crun version 1.28":      {1, 28},
		"containerd github.com/containerd/containerd/v2 v2.1.9 8d4aa4f":    {2, 1},
		"containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds": {1, 6},
		"podman version 5.8.6": {5, 8},
		"6.18.44-fc-v669":      {6, 18},
	} {
		if got, found := parseVersion(text); !found || got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "v2", "1.", ".5", "99999999999999999999.1", "a 1 b 2"} {
		if got, found := parseVersion(text); found {
			t.Errorf("%q: got %v, want none", text, got)
		}
	}
}

func TestJudgeVersion(t *testing.T) {
	containerd := program{name: "containerd", least: version{2, 0}, cri: true}
	for _, c := range []struct {
		out        string
		kubernetes bool
		want       State
	}{
		{"containerd v2.0.1", true, OK},
		{"containerd v1.7.28", true, Fail},
		{"containerd v1.7.28", false, Warn},
		{"containerd\x1b[2J", true, Unknown},
	} {
		if got := containerd.judge(c.out, c.kubernetes); got.state != c.want {
			t.Errorf("%+v: got %+v", c, got)
		}
	}
}

// TestRunVersion runs programs that are slow, loud, or not root's.
func TestRunVersion(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	n := NewNode(NodeOptions{Root: "/"})
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		write(t, path, "#!/bin/sh\n"+text)
		return path
	}
	if got, err := n.version(t.Context(), script("good", `[ "$1" = --version ] && echo "x 1.2"`)); err != nil || got != "x 1.2\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := n.version(t.Context(), script("loud", "head -c 100000 /dev/zero")); err != nil || len(got) != maxVersion {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, maxVersion)
	}
	if _, err := n.version(t.Context(), script("fails", "exit 3")); err == nil {
		t.Error("a failure was not told")
	}
	theirs := script("theirs", "touch "+dir+"/ran")
	if err := os.Chmod(theirs, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := n.version(t.Context(), theirs); err == nil || !strings.Contains(err.Error(), "not run") {
		t.Errorf("a program that anybody can write: %v", err)
	}
	if _, err := os.Stat(dir + "/ran"); err == nil {
		t.Error("it was run")
	}
}

func TestParseNRI(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       nriSettings
		state      State
	}{
		{"empty", "", nriSettings{}, OK},
		{"other table", "[plugins.'io.containerd.grpc.v1.cri']\ndisable = true\n", nriSettings{}, OK},
		{"version 2", "[plugins.\"io.containerd.nri.v1.nri\"]\n  disable = true # off\n", nriSettings{disable: "true"}, Warn},
		{"after it", "[plugins.'io.containerd.nri.v1.nri']\ndisable=false\n[x]\ndisable = true\n", nriSettings{disable: "false"}, OK},
		{"disabled plugin", "disabled_plugins = ['io.containerd.nri.v1.nri']\n", nriSettings{disable: "true"}, Warn},
		{"hasty", "[plugins.'io.containerd.nri.v1.nri']\nplugin_request_timeout = \"500ms\"\n", nriSettings{request: "500ms"}, Warn},
		{"hasty start", "[plugins.'io.containerd.nri.v1.nri']\nplugin_registration_timeout = '1s'\n", nriSettings{registration: "1s"}, Warn},
		{"junk", "[plugins.'io.containerd.nri.v1.nri']\nplugin_request_timeout = soon\n", nriSettings{request: "soon"}, Unknown},
	} {
		got := parseNRI(c.text)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(nriSettings{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if f := got.judge(); f.state != c.state {
			t.Errorf("%s: got %+v, want %s", c.name, f, c.state)
		}
	}
}

func TestJudgeDevice(t *testing.T) {
	for _, c := range []struct {
		st   unix.Stat_t
		want State
	}{
		{unix.Stat_t{Mode: unix.S_IFCHR | 0o666, Rdev: fuseDevice}, OK},
		{unix.Stat_t{Mode: unix.S_IFCHR | 0o600, Rdev: fuseDevice}, Warn},
		{unix.Stat_t{Mode: unix.S_IFCHR | 0o666, Rdev: tunDevice}, Fail},
		{unix.Stat_t{Mode: unix.S_IFREG | 0o666, Rdev: fuseDevice}, Fail},
	} {
		if got := judgeDevice("/dev/fuse", c.st, fuseDevice); got.state != c.want {
			t.Errorf("%o: got %+v, want %s", c.st.Mode, got, c.want)
		}
	}
	testNode(t, []nodeCase{
		{"dev-fuse", nil, Warn, "no /dev/fuse"},
		{"dev-tun", files{"/dev/net/tun": ""}, Fail, "is not device 10:200"},
		{"nri-socket", nil, Warn, "no /var/run/nri/nri.sock"},
		{"nri-socket", files{"/var/run": "link:/run", "/run/nri/nri.sock": ""}, Fail, "no socket"},
		{"nri-config", files{"/usr/bin/containerd": absent}, NotApplicable, ""},
		{"nri-config", files{"/etc/containerd/config.toml": absent}, OK, "defaults"},
	})
}

func TestParseFileCaps(t *testing.T) {
	word := binary.LittleEndian.AppendUint32
	v2 := word(word(word(word(word(nil, vfsCapRevision2|1), 1<<unix.CAP_SETUID), 0), 1<<(unix.CAP_BPF-32)), 0)
	v3 := word(append(word(nil, vfsCapRevision3|1), v2[4:]...), 200000)
	for _, c := range []struct {
		name string
		in   []byte
		root uint32
		fine bool
	}{{"v2", v2, 0, true}, {"v3", v3, 200000, true}, {"cut", v3[:20], 0, false}, {"short", v2[:12], 0, false}, {"v1", word(v2[4:], 0), 0, false}} {
		got, err := parseFileCaps(c.in)
		if (err == nil) != c.fine {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.fine && (!got.has(unix.CAP_SETUID) || !got.has(unix.CAP_BPF) || got.has(unix.CAP_SETGID) || got.rootID != c.root) {
			t.Errorf("%s: got %+v", c.name, got)
		}
	}
	if got, err := parseFileCaps(nil); err != nil || got != (fileCaps{}) {
		t.Errorf("none: got %+v, %v", got, err)
	}
}

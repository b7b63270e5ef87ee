package evidence

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// Ids in testdata.
const (
	webID    = "45407e0ca06325b92b0717afc3d58c230b94061367d7cbfcbf6e7f34a70b0902"
	goneID   = "43dd5d31939f8322f454f76b44a8cfe4158ca7acff2115135e73d0c038db9734"
	bldID    = "3a8dc6de02425dc0ff460857c8e58585873a9eecb9b180e3662ab29c2825f5c3"
	dockerID = "f67d935b608f1f8f78b66e1698ef35271fe6434f99e8e134a40464ec19aa81c2"
	mountID  = "2bbba09a99d809b39168099deaa5ec56e8faad403ea21fce1fbb54db30fbc322"
	envID    = "44930580594e6e10cd6e1a416f6b93937056acc7d2425d096e144a629126f223"
)

func golden(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sandbox makes a root directory with files, and a procfs whose process 7 has it.
func sandbox(t testing.TB, files map[string]string) (string, *Root) {
	t.Helper()
	dir := t.TempDir()
	for path, content := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	procfs := t.TempDir()
	if err := os.Mkdir(filepath.Join(procfs, "7"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(procfs, "7", "root")); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRoot(procfs, 7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return dir, r
}

func TestPodman(t *testing.T) {
	store := golden(t, "podman-containers.json")
	web := Claim{Runtime: "podman", ID: webID, Name: "web", Image: "localhost/evid:1", Source: "podman-state"}
	for name, tc := range map[string]struct {
		path, id string
		hints    []string
		want     Claim
	}{
		"rootful":       {path: "/var/lib/containers/storage/overlay-containers/containers.json", id: webID, want: web},
		"vfs":           {path: "/var/lib/containers/storage/vfs-containers/containers.json", id: webID, want: web},
		"root's own":    {path: "/root/.local/share/containers/storage/overlay-containers/containers.json", id: webID, want: web},
		"rootless":      {path: "/home/dev/.local/share/containers/storage/overlay-containers/containers.json", id: webID, want: web},
		"transient":     {path: "/run/user/1000/containers/overlay-containers/volatile-containers.json", id: webID, want: web},
		"hint":          {path: "/vol/pg/vfs-containers/containers.json", id: webID, hints: []string{"relative", "/a/../b", "/vol/pg"}, want: web},
		"without hint":  {path: "/vol/pg/vfs-containers/containers.json", id: webID},
		"too many":      {path: "/vol/pg/vfs-containers/containers.json", id: webID, hints: append(make([]string, maxHints), "/vol/pg")},
		"not there":     {path: "/var/lib/containers/storage/overlay-containers/containers.json", id: idA},
		"nothing there": {path: "/etc/hosts", id: webID},
		"--rm": {path: "/var/lib/containers/storage/overlay-containers/volatile-containers.json", id: goneID,
			want: Claim{Runtime: "podman", ID: goneID, Name: "gone", Image: "localhost/evid:1", Source: "podman-state"}},
		"buildah": {path: "/var/lib/containers/storage/vfs-containers/containers.json", id: bldID,
			want: Claim{Runtime: "buildah", ID: bldID, Name: "bld", Source: "podman-state",
				Image: "769414b5584c60a34c7d129fbaf83b36246cbb9e403477419c732d3f1eee9a7d"}},
	} {
		_, r := sandbox(t, map[string]string{tc.path: store})
		got, ok, err := r.Podman(tc.id, tc.hints)
		if d := cmp.Diff(tc.want, got); d != "" || ok != (tc.want != Claim{}) || err != nil {
			t.Errorf("%s: %v, %v (-want +got):\n%s", name, ok, err, d)
		}
	}
}

func TestPodmanMetadata(t *testing.T) {
	id := `[{"id":"` + webID + `"`
	for in, want := range map[string]Claim{
		id + `,"names":["a","b"],"image":"abc","metadata":"{\"pod-id\":\"x\",\"image-name\":\"i:1\",\"name\":\"\"}"}]`: {Runtime: "cri-o", Name: "a", Image: "i:1"},
		id + `,"names":[1],"metadata":"{"}]`:                      {Runtime: "podman"},
		id + `,"names":{"a":1},"image":"x"}]`:                     {Runtime: "buildah", Image: "x"},
		id + `,"names":["\u0000\u001b[31m` + "\xff" + `"]}]`:      {Runtime: "buildah", Name: "\x1b[31m\uFFFD"},
		id + `,"names":["` + strings.Repeat("é", 1000) + `"]}]`:   {Runtime: "buildah", Name: strings.Repeat("é", 128)},
		`[{"id":"x"},{"id":"` + webID + `","names":["second"]}]`:  {Runtime: "buildah", Name: "second"},
		`[{"id":"` + webID + `","names":["first"]},{"id":7,`:      {Runtime: "buildah", Name: "first"},
		`[{"id":"` + webID + `","names":null,"metadata":"null"}]`: {Runtime: "podman"},
	} {
		want.ID, want.Source = webID, SourcePodman
		got, ok, err := parsePodman(strings.NewReader(in), webID)
		if d := cmp.Diff(want, got); d != "" || !ok || err != nil {
			t.Errorf("%.100q: %v, %v (-want +got):\n%s", in, ok, err, d)
		}
	}
	for _, in := range []string{
		"", "{}", "null", "[", `[{"id":7}]`, `[{}`, `[{},]`, `["x"]`, "\x00", "[" + strings.Repeat("{},", maxRecords) + "{}]",
		`[{"x":` + strings.Repeat("[", 1<<20) + "}]", strings.Repeat("[", 1<<20),
	} {
		if got, ok, err := parsePodman(strings.NewReader(in), webID); err == nil || ok {
			t.Errorf("%.60q was taken: %+v", in, got)
		}
	}
}

func TestDocker(t *testing.T) {
	config := golden(t, "docker-config.v2.json")
	want := Claim{Runtime: "docker", ID: dockerID, Name: "web-1", Image: "example.test/evid:1", Source: "docker-state"}
	for _, root := range []string{
		"/var/lib/docker", "/root/.local/share/docker", "/home/dev/.local/share/docker",
		"/var/lib/docker/231072.231072", "/var/snap/docker/common/var-lib-docker",
	} {
		_, r := sandbox(t, map[string]string{root + "/containers/" + dockerID + "/config.v2.json": config})
		got, ok, err := r.Docker(dockerID)
		if d := cmp.Diff(want, got); d != "" || !ok || err != nil {
			t.Errorf("%s: %v, %v (-want +got):\n%s", root, ok, err, d)
		}
		if got, ok, err := r.Docker(idA); (got != Claim{}) || ok || err != nil {
			t.Errorf("%s: another id: %+v, %v, %v", root, got, ok, err)
		}
	}
}

func TestDockerConfig(t *testing.T) {
	got, err := parseDocker([]byte(`{"ID":"`+idA+`","Image":"sha256:x","Name":"/a\u0000b"}`), idA)
	if d := cmp.Diff(Claim{Runtime: "docker", ID: idA, Name: "ab", Image: "sha256:x", Source: "docker-state"}, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	for _, in := range []string{
		"", "null", "{}", "[]", `{"ID":"` + idB + `"}`, `{"ID":"` + idA + `","Config":[]}`, `{"ID":"` + idA + `"`,
		`{"ID":"` + idA + `","x":` + strings.Repeat(`{"a":`, 1<<17),
	} {
		if got, err := parseDocker([]byte(in), idA); err == nil {
			t.Errorf("%.60q was taken: %+v", in, got)
		}
	}
}

func TestContainerenv(t *testing.T) {
	_, r := sandbox(t, map[string]string{"/run/.containerenv": golden(t, "podman-containerenv.txt")})
	got, ok, err := r.Containerenv()
	want := Claim{Runtime: "podman", ID: envID, Name: "w1", Image: "localhost/bb:1", Source: "containerenv"}
	if d := cmp.Diff(want, got); d != "" || !ok || err != nil {
		t.Errorf("%v, %v (-want +got):\n%s", ok, err, d)
	}
	_, r = sandbox(t, nil)
	if got, ok, err := r.Containerenv(); ok || err != nil || (got != Claim{}) {
		t.Errorf("without a file: %+v, %v, %v", got, ok, err)
	}
	for in, want := range map[string]Claim{
		"": {Runtime: "podman"}, "\n": {Runtime: "podman"},
		"graphRootMounted=1":                             {},
		"\nengine=\"buildah-1.28.2\"\nname=\"b\"\n":      {Runtime: "buildah", Name: "b"},
		"engine=\"evil-1\"\nid=\"../../x\"\nname=\"\\":   {Name: `"\`},
		"name=\"\\x00\\x1b[2J\\xff\"\nimage=plain:1\r\n": {Name: "\x1b[2J\uFFFD", Image: "plain:1"},
		strings.Repeat("x=1\n", 64) + "name=\"late\"":    {},
		"name=\"" + strings.Repeat("n", 5000) + "\"\n":   {Name: strings.Repeat("n", maxText)},
	} {
		want.Source = SourceContainerenv
		if d := cmp.Diff(want, parseContainerenv(in)); d != "" {
			t.Errorf("%.60q (-want +got):\n%s", in, d)
		}
	}
}

func TestMounts(t *testing.T) {
	in := golden(t, "podman-mountinfo.txt")
	roots := []string{"/home/dev/.local/share/containers/storage"}
	if d := cmp.Diff(roots, GraphRoots(strings.NewReader(in))); d != "" {
		t.Errorf("graph roots (-want +got):\n%s", d)
	}
	got, ok := MountClaim(strings.NewReader(in))
	if d := cmp.Diff(Claim{Runtime: "podman", ID: mountID, Source: "mounts"}, got); d != "" || !ok {
		t.Errorf("claim %v (-want +got):\n%s", ok, d)
	}
	own, err := ReadMountinfo("/proc", os.Getpid())
	if err != nil || !strings.Contains(own, " / ") {
		t.Errorf("own mounts: %v", err)
	}
	if _, err := ReadMountinfo(t.TempDir(), 7); err == nil {
		t.Error("mounts of no process were read")
	}
}

func overlay(options string) string {
	return "1 2 0:40 / / rw,relatime - overlay overlay rw," + options + "\n"
}

func TestGraphRoots(t *testing.T) {
	layer := "/overlay/" + idA
	for in, want := range map[string][]string{
		"":                                       nil,
		overlay("upperdir=/s" + layer + "/diff"): {"/s"},
		overlay(`upperdir=/a\040b\054c` + layer + "/diff"):                                             {"/a b,c"},
		overlay("lowerdir=/s/overlay/l/ABC:/t/overlay/l/DEF"):                                          {"/s", "/t"},
		overlay("lowerdir+=/s/overlay/l/ABC"):                                                          {"/s"},
		overlay("workdir=/overlay/overlay" + layer + "/work"):                                          {"/overlay/overlay"},
		overlay("upperdir=" + layer + "/diff"):                                                         nil, // the root directory
		overlay("upperdir=/var/lib/docker/overlay2/" + idA + "/diff"):                                  nil,
		overlay("upperdir=/s" + layer):                                                                 nil,
		overlay("upperdir=s" + layer + "/diff"):                                                        nil,
		overlay("upperdir=/s/../t" + layer + "/diff"):                                                  nil,
		overlay(`upperdir=/s\000` + layer + "/diff"):                                                   nil,
		overlay("upperdir=/" + strings.Repeat("s", maxPath) + layer + "/diff"):                         nil,
		overlay("xupperdir=/s" + layer + "/diff"):                                                      nil,
		"1 2 0:40 / / rw - ext4 /dev/x rw,upperdir=/s" + layer + "/diff\n":                             nil,
		"short - overlay overlay rw,upperdir=/s" + layer + "/diff\n":                                   nil,
		strings.Repeat("x", 1<<17) + "\n" + overlay("upperdir=/s"+layer+"/diff"):                       nil,
		"\xff\x00\n" + overlay("upperdir=/s"+layer+"/diff"):                                            {"/s"},
		strings.Repeat(overlay("upperdir=/s"+layer+"/diff"), 1000) + overlay("upperdir=/t"+layer+"/d"): {"/s", "/t"},
	} {
		if d := cmp.Diff(want, GraphRoots(strings.NewReader(in))); d != "" {
			t.Errorf("%.100q (-want +got):\n%s", in, d)
		}
	}
	var many strings.Builder
	for i := range 1000 {
		many.WriteString(overlay("upperdir=/s" + strings.Repeat("s", i) + layer + "/diff"))
	}
	if n := len(GraphRoots(strings.NewReader(many.String()))); n != maxHints {
		t.Errorf("%d hints of many", n)
	}
}

func TestMountClaim(t *testing.T) {
	const docker = "/var/lib/docker/containers/" + idA
	line := func(root, point string) string { return "9 8 254:0 " + root + " " + point + " rw - ext4 /dev/vda rw\n" }
	for in, want := range map[string]Claim{
		line(docker+"/hosts", "/etc/hosts"):                                                     {Runtime: "docker", Source: "mounts"},
		line(docker+"/hosts", "/etc/other"):                                                     {},
		line("/s/overlay-containers/"+idA+"/userdata/hosts", "/etc/hosts"):                      {}, // perhaps its pod's
		line("/s/vfs-containers/"+idA+"/userdata/.containerenv", "/run/.containerenv"):          {Runtime: "podman", ID: idA, Source: "mounts"},
		line(`/a\040b/overlay-containers/`+idA+"/userdata/.containerenv", "/run/.containerenv"): {Runtime: "podman", ID: idA, Source: "mounts"},
		line("/s/overlay-containers/../userdata/.containerenv", "/run/.containerenv"):           {},
		line("/", "/etc/hosts"): {},
	} {
		got, ok := MountClaim(strings.NewReader(in))
		if d := cmp.Diff(want, got); d != "" || ok != (want != Claim{}) {
			t.Errorf("%q: %v (-want +got):\n%s", in, ok, d)
		}
	}
}

func checkText(t *testing.T, c Claim) {
	t.Helper()
	for _, s := range []string{c.Runtime, c.ID, c.Name, c.Image, c.Source} {
		if len(s) > maxText || !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
			t.Fatalf("text %q of %+v", s, c)
		}
	}
}

func FuzzPodmanState(f *testing.F) {
	f.Add([]byte(golden(f, "podman-containers.json")))
	f.Add([]byte(`[{"id":"` + webID + `","names":["\u0000"],"metadata":"{\"name\":\"\\u0000\"}"}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok, err := parsePodman(bytes.NewReader(b), webID)
		checkText(t, c)
		if ok != (c.ID == webID) || ok && err != nil {
			t.Fatalf("%+v, %v, %v", c, ok, err)
		}
	})
}

func FuzzDockerState(f *testing.F) {
	f.Add([]byte(golden(f, "docker-config.v2.json")))
	f.Add([]byte(`{"ID":"` + dockerID + `","Name":"/a\u0000","Config":{"Image":""},"Image":"sha256:x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseDocker(b, dockerID)
		checkText(t, c)
		if (err == nil) != (c.ID == dockerID) {
			t.Fatalf("%+v, %v", c, err)
		}
	})
}

func FuzzContainerenv(f *testing.F) {
	f.Add(golden(f, "podman-containerenv.txt"))
	f.Add("engine=\"buildah-1\"\nname=\"\\x00\"\nid=x\nimage=`a`")
	f.Fuzz(func(t *testing.T, s string) {
		c := parseContainerenv(s)
		checkText(t, c)
		if c.ID != "" && !isHex64(c.ID) {
			t.Fatalf("id %q", c.ID)
		}
	})
}

func FuzzGraphRoots(f *testing.F) {
	f.Add(golden(f, "podman-mountinfo.txt"))
	f.Add(overlay(`lowerdir=/a\040b/overlay/l/X:/c/overlay/l/Y`))
	f.Fuzz(func(t *testing.T, s string) {
		roots := GraphRoots(strings.NewReader(s))
		if len(roots) > maxHints {
			t.Fatalf("%d hints", len(roots))
		}
		for _, r := range roots {
			if !plainPath(r) || r == "/" {
				t.Fatalf("hint %q", r)
			}
		}
		if c, ok := MountClaim(strings.NewReader(s)); ok {
			checkText(t, c)
			if c.ID != "" && !isHex64(c.ID) {
				t.Fatalf("id %q", c.ID)
			}
		}
	})
}

func TestRootLayers(t *testing.T) {
	type answer struct {
		N       int
		Overlay bool
	}
	other := "1 2 0:41 / /x rw - overlay overlay rw,lowerdir=/a:/b:/c\n"
	for in, want := range map[string]answer{
		"":                                      {},
		other:                                   {},
		overlay("lowerdir=/a,upperdir=/u"):      {1, true},
		overlay("lowerdir=/a:/b::/data"):        {3, true},
		overlay(`lowerdir=/a\134:b:/c\134\134`): {2, true}, // "/a:b" and "/c\"
		overlay("lowerdir+=/a,lowerdir+=/b,datadir+=/c") + other:                        {3, true},
		overlay("lowerdir=/a") + "1 2 0:42 / / rw - fuse.x x rw,lowerdir=/a:/b\n":       {2, false}, // mounted upon it
		overlay("lowerdir=" + strings.Repeat("/a:", 500)):                               {500, true},
		overlay("lowerdir=" + strings.Repeat("/a:", 1<<16)):                             {}, // longer than a line may be
		"1 2 0:40 / / rw - overlay\n" + overlay(`lowerdir=\777\13`) + "\xff \x00 - -\n": {1, true},
	} {
		n, ok := RootLayers(strings.NewReader(in))
		if d := cmp.Diff(want, answer{n, ok}); d != "" {
			t.Errorf("%.100q (-want +got):\n%s", in, d)
		}
	}
}

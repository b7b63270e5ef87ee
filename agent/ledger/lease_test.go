package ledger

import (
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 120e6, time.UTC)

func sample() Lease {
	return Lease{
		ID: "3f2a9c1e-dev", State: Done,
		Range: Range{1073741824, 65536}, InPod: []string{"dev:1001:64535"}, Profile: "podman",
		Owner: Owner{
			Namespace: "team-a", Pod: "devbox-0", PodUID: "5a0e4a52-5bd0-4b3c-8f0e-0d1a6f0c7f11",
			Container: "dev", ContainerID: "3f2a9c1e88d1", Runtime: "containerd",
		},
		Cgroup: "/kubepods.slice/kubepods-pod5a0e.slice/cri-containerd-3f2a9c1e88d1.scope", CgroupID: 48213,
		UID: 1073742824, GID: 1073742824, Boot: "0f6dbf5a-6f1e-4f57-9c1c-3f1d6d3a0b11",
		Created: epoch, Updated: epoch.Add(time.Second), Steps: []string{"leaf:init", "own:."},
		Proof: "",
	}
}

func TestGolden(t *testing.T) {
	dead := sample()
	dead.ID, dead.State, dead.Released, dead.Proof = "dead", Tombstone, epoch.Add(time.Hour), "no process and no user namespace has an id of 1073741824-1073807359 <&>"
	guess := sample()
	guess.State, guess.Cgroup, guess.CgroupID, guess.Unsettled = Intent, "", 0, true
	for name, l := range map[string]Lease{"done": sample(), "tombstone": dead, "bare": {ID: "a", State: Intent, Created: epoch, Updated: epoch}, "unsettled": guess} {
		t.Run(name, func(t *testing.T) {
			got, err := encode(l)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("the file's form has changed (-want +got):\n%s", d)
			}
			back, err := parse(got)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(l, back); d != "" {
				t.Errorf("round trip (-want +got):\n%s", d)
			}
		})
	}
}

// A torn file is never believed, and its range is the right one or unknown.
func TestEveryTruncation(t *testing.T) {
	whole, err := encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	known := 0
	for n := range len(whole) {
		_, err := parse(whole[:n])
		var d *damage
		if !errors.As(err, &d) {
			t.Fatalf("%d bytes: parsed, or error %v", n, err)
		}
		if r, ok := salvage(whole[:n]); ok {
			known++
			if r != sample().Range {
				t.Fatalf("%d bytes: range %v", n, r)
			}
		}
	}
	if known < len(whole)/2 {
		t.Errorf("the range was found in %d of %d torn files", known, len(whole))
	}
}

func TestEveryBitFlip(t *testing.T) {
	whole, err := encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for i := range whole {
		for bit := range 8 {
			b := append([]byte(nil), whole...)
			b[i] ^= 1 << bit
			if _, err := parse(b); err == nil {
				t.Fatalf("bit %d of byte %d (%q for %q) was not noticed", bit, i, b[i], whole[i])
			}
			r, ok := salvage(b)
			if !ok {
				lost++
			} else if r != sample().Range {
				t.Fatalf("bit %d of byte %d: range %v", bit, i, r)
			}
		}
	}
	t.Logf("of %d flips %d hid the range", len(whole)*8, lost)
}

func TestParseByHand(t *testing.T) {
	whole, err := encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	sum := strings.Index(string(whole), ",\n  \"sum\"")
	edited := strings.Replace(string(whole[:sum])+"}", "podman", "docker", 1)
	l, err := parse([]byte(edited))
	if err != nil || l.Profile != "docker" {
		t.Errorf("a file edited by hand, without its sum: %v, %v", l.Profile, err)
	}
	for name, c := range map[string]struct{ from, to, kind string }{
		"unknown field":      {`"uid"`, `"uidd"`, damageTorn},
		"trailing data":      {"}\n", "}\n{}", damageTorn},
		"state":              {`"done"`, `"gone"`, damageIllegal},
		"tombstone w/o time": {`"done"`, `"tombstone"`, damageIllegal},
		"range":              {"65536", "65537", damageTorn},
		"text":               {"podman", `pod\u202eman`, damageIllegal},
		"edited":             {"podman", "docker", damageSum},
		"spaces":             {"  \"uid\"", "   \"uid\"", damageSum},
	} {
		_, err := parse([]byte(strings.Replace(string(whole), c.from, c.to, 1)))
		var d *damage
		if !errors.As(err, &d) || d.kind != c.kind {
			t.Errorf("%s: %v, want damage %s", name, err, c.kind)
		}
	}
}

func TestCheck(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for name, change := range map[string]func(*Lease){
		"no id":           func(l *Lease) { l.ID = "" },
		"long id":         func(l *Lease) { l.ID = strings.Repeat("a", 65) },
		"path as id":      func(l *Lease) { l.ID = "../x" },
		"upper-case id":   func(l *Lease) { l.ID = "A" },
		"wraps":           func(l *Lease) { l.Range = Range{math.MaxUint32 - 10, 65536} },
		"minus one":       func(l *Lease) { l.Range = Range{math.MaxUint32, 1} },
		"start, no count": func(l *Lease) { l.Range = Range{5, 0} },
		"long":            func(l *Lease) { l.Proof = long },
		"escape":          func(l *Lease) { l.Owner.Pod = "a\x1b[2J" },
		"not utf-8":       func(l *Lease) { l.Owner.Container = "\xff" },
		"newline in step": func(l *Lease) { l.Steps = []string{"a\nb"} },
		"many steps":      func(l *Lease) { l.Steps = make([]string, maxLines+1) },
		"long cgroup":     func(l *Lease) { l.Cgroup = strings.Repeat("x", maxPath+1) },
		"no times":        func(l *Lease) { l.Created = time.Time{} },
		"year":            func(l *Lease) { l.Updated = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"too large": func(l *Lease) {
			for range maxLines {
				l.Steps, l.InPod = append(l.Steps, long[1:]), append(l.InPod, long[1:])
			}
		},
	} {
		l := sample()
		change(&l)
		if _, err := encode(l); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	last := sample()
	last.Range = Range{math.MaxUint32 - 65536, 65536}
	if _, err := encode(last); err != nil {
		t.Errorf("last range: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"done", "tombstone", "bare", "unsettled"} {
		b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
		if i := strings.Index(string(b), ",\n  \"sum\""); i > 0 {
			f.Add([]byte(string(b[:i]) + "}"))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := salvage(b); ok && r.check() != nil {
			t.Fatalf("salvaged %v", r)
		}
		l, err := parse(b)
		if err != nil {
			return
		}
		if err := l.check(); err != nil {
			t.Fatalf("believed an illegal lease: %v", err)
		}
		again, err := encode(l)
		if err != nil {
			// Only a file by hand may hold what grows too large when written.
			if len(b) < maxFile/8 {
				t.Fatal(err)
			}
			return
		}
		back, err := parse(again)
		if err != nil || !back.Equal(l) {
			t.Fatalf("round trip: %v\n%s", err, cmp.Diff(l, back))
		}
	})
}

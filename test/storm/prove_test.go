package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseNamespace(t *testing.T) {
	if got, err := parseNamespace("pid:[4026531836]"); got != 4026531836 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	for _, bad := range []string{"", "pid:[]", "pid:[1", "pid:1]", "pid:[-1]", "pid:[x]"} {
		if got, err := parseNamespace(bad); err == nil {
			t.Errorf("%q: got %d", bad, got)
		}
	}
}

func TestParseStartTime(t *testing.T) {
	tail := " R 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 433591 100 0"
	for _, comm := range []string{"storm", ") R 1 1 1 (x) S", "a b\nc"} {
		if got, err := parseStartTime("7 (" + comm + ")" + tail); got != 433591 || err != nil {
			t.Errorf("%q: got %d, %v", comm, got, err)
		}
	}
}

func TestParseNSpid(t *testing.T) {
	got, err := parseNSpid("Name:\tx\\nNSpid:\t9\nNSpid:\t500\t7\t1\nNSpgid:\t1\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{500, 7, 1}, got); diff != "" {
		t.Errorf("pids (-want +got):\n%s", diff)
	}
	if got, err := parseNSpid("Name:\tx\n"); err == nil {
		t.Errorf("no NSpid line gave %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("7 (storm) R 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 433591 100 0")
	f.Add("NSpid:\t500\t1\n")
	f.Add("pid:[4026531836]")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseStartTime(text)
		_, _ = parseNamespace(text)
		if pids, err := parseNSpid(text); err == nil && len(pids) > len(strings.Fields(text)) {
			t.Errorf("%q: %d pids", text, len(pids))
		}
	})
}

func TestParseLevels(t *testing.T) {
	for text, want := range map[string][2]int{"1-32": {1, 32}, "7": {7, 7}} {
		low, high, err := parseLevels(text)
		if err != nil || low != want[0] || high != want[1] {
			t.Errorf("%q: %d-%d, %v", text, low, high, err)
		}
	}
	if _, _, err := parseLevels("a-3"); err == nil {
		t.Error("a-3 was read")
	}
}

func TestCheckCgroupRefusesWhatIsNotItsOwn(t *testing.T) {
	for _, dir := range []string{"", ".", "relative", "/", "/proc", "/sys/fs/cgroup", "/sys/fs/cgroup/unified", t.TempDir()} {
		if err := checkCgroup(dir); err == nil {
			t.Errorf("%q was taken", dir)
		}
	}
}

func TestHostileCasesFitTheKernel(t *testing.T) {
	for _, h := range hostileCases() {
		size := 0
		for _, a := range h.Argv {
			size += len(a) + 1
			if strings.ContainsRune(string(a), 0) {
				t.Errorf("%s: argument with NUL", h.Case)
			}
		}
		if len(h.Comm) > commBytes || len(h.Hostname) > hostnameBytes || len(h.Cgroup) > nameBytes || size < 4096 || len(h.Argv) < 100 {
			t.Errorf("%s: comm %d, hostname %d, cgroup %d, argv %d in %d parts", h.Case,
				len(h.Comm), len(h.Hostname), len(h.Cgroup), size, len(h.Argv))
		}
		if strings.ContainsAny(string(h.Cgroup), "/\n\x00") {
			t.Errorf("%s: no cgroup can be named %q", h.Case, h.Cgroup)
		}
	}
}

package doctor

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseSubIDs(t *testing.T) {
	got, wrong := parseSubIDs("# comment\n\ndev:100000:65536\n1000:200000:1\n" +
		"dev:1\n:1:1\ndev:-1:5\ndev:1:0\ndev:4294967295:2\ndev:4294967294:2\ndev:1:4294967296\ndev:1:2:3\n")
	want := []subRange{{"dev", 100000, 65536, 3}, {"1000", 200000, 1, 4}, {"dev", 4294967294, 2, 10}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(subRange{})); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
	var lines []string
	for _, w := range wrong {
		line, _, _ := strings.Cut(w, ":")
		lines = append(lines, line)
	}
	if diff := cmp.Diff([]string{"line 5", "line 6", "line 7", "line 8", "line 9", "line 11", "line 12"}, lines); diff != "" {
		t.Errorf("wrong lines (-want +got):\n%s", diff)
	}
}

func FuzzParseSubIDs(f *testing.F) {
	f.Add("dev:100000:65536\n1000:200000:1\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, _ := parseSubIDs(text)
		for _, r := range all {
			if r.count == 0 || r.end() > 1<<32 || r.owner == "" {
				t.Errorf("accepted %+v", r)
			}
		}
	})
}

func TestOverlaps(t *testing.T) {
	same := func(a, b string) bool { return a == b }
	for _, c := range []struct {
		text string
		want []string
	}{
		{"a:1000:10\nb:1010:10", nil},
		{"a:1000:10\nb:1009:10", []string{"a:1000:10 and b:1009:10"}},
		{"a:1000:10\na:1005:10", nil}, // one user's own
		// The first is long, and meets those after the second, too.
		{"c:50:5\na:0:100\nb:1:2", []string{"a:0:100 and b:1:2", "a:0:100 and c:50:5"}},
	} {
		all, _ := parseSubIDs(c.text)
		if diff := cmp.Diff(c.want, overlaps(all, same), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestSubIDFiles(t *testing.T) {
	testNode(t, []nodeCase{
		{"subuid", files{"/etc/subuid": "dev:100000:65536\nops:165535:65536\n"}, Fail, "dev:100000:65536 and ops:165535:65536"},
		{"subuid", files{"/etc/subuid": "dev:100000:65536\n1000:100000:65536\n"}, OK, "2 ranges"}, // both are dev
		{"subuid", files{"/etc/subuid": "dev\x1b[31m:100000\n"}, Fail, "line 1: want user:first:count"},
		{"subgid", files{"/etc/subgid": absent}, Warn, "no /etc/subgid"},
		{"subuid", files{"/etc/subuid": strings.Repeat("#", maxFile+1)}, Unknown, "more than"},
		{"subid-symmetry", files{"/etc/subgid": "dev:1:1\n"}, Warn, "only in subuid"},
		{"subid-nsswitch", files{"/etc/nsswitch.conf": "subid: sss files\n"}, Warn, "sss files"},
		{"subid-nsswitch", files{"/etc/nsswitch.conf": absent}, OK, "files"},
		{"newuidmap", files{"/usr/bin/newuidmap": absent}, Warn, "not installed"},
		{"newuidmap", files{"/proc/1/mountinfo": "1 1 8:1 / / rw,nosuid - ext4 /dev/vda1 rw\n"}, Fail, "nosuid"},
	})
}

func TestKubelet(t *testing.T) {
	line := func(text string) files { return files{"/etc/subuid": text, "/etc/subgid": text} }
	passwd := "root:x:0:0::/:/bin/sh\n"
	none := files{
		kubeletDir + "/config.yaml": absent, kubeletDir + "/pods/a/userns": absent, kubeletDir + "/pods/b/userns": absent,
		kubeletDir + "/pods/c/volumes": absent, "/sys/fs/cgroup/kubepods.slice/cgroup.controllers": absent,
		"/sys/fs/cgroup/kubepods.slice/cgroup.subtree_control": absent,
	}
	pod := func(text string) files { return files{kubeletDir + "/pods/a/userns": text} }
	testNode(t, []nodeCase{
		{"kubelet-range", none, NotApplicable, "no kubelet"},
		{"kubelet-range", files{"/etc/passwd": passwd}, Warn, "at random"},
		{"kubelet-range", files{"/usr/bin/getsubids": absent}, Warn, "no getsubids"},
		{"kubelet-range", line("998:805306368:268435456"), OK, "998:805306368"}, // by uid
		{"kubelet-range", line("dev:1:1"), Fail, "got 0"},
		{"kubelet-range", line("kubelet:65536:65536\nkubelet:131072:65536"), Fail, "got 2"},
		{"kubelet-range", line("kubelet:0:131072"), Fail, "begins below"},
		{"kubelet-range", line("kubelet:100000:65536"), Fail, "multiples"},
		{"kubelet-range", line("kubelet:131072:65537"), Fail, "multiples"},
		{"kubelet-range", files{"/etc/subgid": "kubelet:65536:65536"}, Fail, "/etc/subgid has kubelet:65536:65536"},
		{"kubelet-range", files{"/etc/nsswitch.conf": "subid: sss"}, Unknown, "sss"},
		{"kubelet-range-shared", line("kubelet:65536:7208960\ndev:100000:65536"), Fail, "dev:100000:65536 of subuid"},
		{"kubelet-range-shared", files{"/etc/passwd": passwd}, Warn, "kubelet's default"},
		{"kubelet-range-shared", line("kubelet:1:1"), Unknown, "see kubelet-range"},
		{"kubelet-range-terminal", line("kubelet:4294836224:131072"), Warn, "holds block 4294901760"},
		{"subuid", line("kubelet:4294836224:131072"), Warn, "no id"},
		{"kubelet-range-terminal", files{"/etc/passwd": passwd}, Warn, "4294901760"},
		{"kubelet-range-capacity", line("kubelet:65536:7208960"), OK, "110 blocks for 110 pods"},
		{"kubelet-range-capacity", line("kubelet:65536:7143424"), Fail, "109 blocks for 110 pods"},
		{"kubelet-range-capacity", files{kubeletDir + "/config.yaml": "maxPods: 9000\n"}, Fail, "4096 blocks for 9000 pods"},
		{"kubelet-range-capacity", files{kubeletDir + "/config.yaml": "userNamespaces: {idsPerPod: 131072}\n"}, OK, "2048 blocks for 110"},
		{"kubelet-range-capacity", files{kubeletDir + "/config.yaml": "\t{"}, OK, "4096 blocks for 110 pods"},
		{"kubelet-range", files{kubeletDir + "/config.yaml": "userNamespaces: {idsPerPod: 65537}\n"}, Fail, "idsPerPod is 65537"},
		{"kubelet-records", pod(record(65536, 65536)), Fail, "out of range"},
		{"kubelet-records", pod(record(805306368+65536, 65536)), Fail, "also that of pod a"},
		{"kubelet-records", pod(record(805306368, 5)), Fail, "want a multiple"},
		{"kubelet-records", pod(record(1<<64-1, 2)), Fail, "no record of kubelet's"},
		{"kubelet-records", pod("{"), Fail, "no record of kubelet's"},
		{"kubelet-records", pod("{}"), Fail, "no uidMappings"},
		{"kubelet-records", pod(strings.Replace(record(805306368, 65536), "0,", "1,", 1)), Fail, "one mapping"},
		{"kubelet-records", files{"/etc/passwd": passwd, kubeletDir + "/pods/a/userns": record(terminalBlock, 65535)}, Fail, "the kernel refuses"},
	})
}

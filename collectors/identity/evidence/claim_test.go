package evidence

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestMerge(t *testing.T) {
	for name, tc := range map[string]struct {
		claims []Claim
		want   Claim
	}{
		"nothing": {},
		"fields come from the strongest that has them": {
			[]Claim{
				{Runtime: "docker", Source: SourceComm},
				{Name: "by-itself", Source: SourceUTS},
				{Runtime: "podman", ID: idA, Name: "web", Image: "img:1", Source: SourcePodman},
				{Runtime: "podman", ID: idA, Source: SourceCgroup},
			},
			Claim{Runtime: "podman", ID: idA, Name: "web", Image: "img:1", Source: "cgroup+podman-state"},
		},
		"another id gives nothing": {
			[]Claim{
				{Runtime: "podman", ID: idB, Name: "stolen", Image: "stolen", Source: SourceContainerenv},
				{Runtime: "docker", ID: idA, Source: SourceCgroup},
			},
			Claim{Runtime: "docker", ID: idA, Source: "cgroup"},
		},
		"an engine replaces its low-level runtime, of the same id only": {
			[]Claim{
				{Runtime: "oci", ID: idA, Source: SourceCgroupShape},
				{Runtime: "podman", Source: SourceComm},
				{Runtime: "podman", ID: idA, Name: "web", Source: SourcePodman},
			},
			Claim{Runtime: "podman", ID: idA, Name: "web", Source: "podman-state"},
		},
		"what tells a working container's id is stronger than buildah's cgroup": {
			[]Claim{
				CgroupRef{Runtime: "buildah", ID: "buildah-buildah3201102848"}.Claim(),
				{Runtime: "buildah", ID: idA, Name: "busybox-working-container", Source: SourceContainerenv},
			},
			Claim{Runtime: "buildah", ID: idA, Name: "busybox-working-container", Source: "containerenv"},
		},
		"an engine replaces cri": {
			[]Claim{{Runtime: "cri", ID: idA, Source: SourceCgroup}, {Runtime: "docker", ID: idA, Source: SourceDocker}},
			Claim{Runtime: "docker", ID: idA, Source: "cgroup+docker-state"},
		},
		"comm does not replace cri": {
			[]Claim{{Runtime: "cri", ID: idA, Source: SourceCgroup}, {Runtime: "docker", Source: SourceComm}},
			Claim{Runtime: "cri", ID: idA, Source: "cgroup"},
		},
		"a short id agrees": {
			[]Claim{{Runtime: "podman", ID: idA, Source: SourceMounts}, HostnameClaim(idA[:12])},
			Claim{Runtime: "podman", ID: idA, Source: "mounts"},
		},
		"weakest only": {
			[]Claim{CommClaim("dockerd"), HostnameClaim("builder"), {}},
			Claim{Runtime: "docker", Name: "builder", Source: "uts+comm"},
		},
		"an unknown source is the weakest": {
			[]Claim{{Name: "a", Source: "rumour"}, {Name: "b", Source: SourceUTS}},
			Claim{Name: "b", Source: "uts"},
		},
	} {
		before := append([]Claim(nil), tc.claims...)
		if d := cmp.Diff(tc.want, Merge(tc.claims)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if d := cmp.Diff(before, tc.claims); d != "" {
			t.Errorf("%s: the caller's claims were changed:\n%s", name, d)
		}
	}
}

func TestSmallClaims(t *testing.T) {
	got := []Claim{
		HostnameClaim(""), HostnameClaim(idA[:12]), HostnameClaim("deadbeef"), HostnameClaim("a\x00b\xff"),
		CommClaim("containerd-shim"), CommClaim("bash"), CommClaim("conmon"),
	}
	want := []Claim{
		{}, {ID: idA[:12], Source: "uts"}, {Name: "deadbeef", Source: "uts"}, {Name: "ab\uFFFD", Source: "uts"},
		{Runtime: "containerd", Source: "comm"}, {}, {Runtime: "podman", Source: "comm"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestSanitize(t *testing.T) {
	for _, tc := range []struct {
		in   string
		max  int
		want string
	}{
		{"web", 10, "web"},
		{"", 10, ""},
		{"a\x00b", 10, "ab"},
		{"\x1b[31mred\n", 20, "\x1b[31mred\n"}, // raw: the printer escapes
		{"\xff\xfe!", 10, "\uFFFD!"},
		{"äöü", 3, "ä"},
		{"äöü", 4, "äö"},
		{"äöü", 0, ""},
		{"\xffabc", 3, "\uFFFD"}, // U+FFFD takes three bytes
		{"\x80\x80\x80\x80", 2, ""},
	} {
		got := Sanitize(tc.in, tc.max)
		if got != tc.want || len(got) > tc.max || !utf8.ValidString(got) || strings.Contains(got, "\x00") {
			t.Errorf("Sanitize(%q, %d) = %q, want %q", tc.in, tc.max, got, tc.want)
		}
	}
}

package sources

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/kubelet"
)

var exported = cmp.AllowUnexported(user{}, group{}, subidLine{}, status{}, idmappedMount{})

func TestParseAccounts(t *testing.T) {
	users, bad, err := parsePasswd([]byte("root:x:0:0:root:/root:/bin/sh\n\n# x\n+nis\nfew:x:1\nneg:x:-1:5:\nbig:x:1:4294967296:\nnone:x:4294967295:7::\nlast:x:1000:100"))
	want := []user{{"root", 0, 0, 1}, {"none", 4294967295, 7, 8}, {"last", 1000, 100, 9}}
	if d := cmp.Diff(want, users, exported); d != "" || err != nil {
		t.Error(d, err)
	}
	if bad.n != 3 || !strings.Contains(bad.first.Error(), "line 5: fewer than four") {
		t.Errorf("%+v", bad)
	}
	claims := userClaims(users, "/etc/passwd")
	if len(claims) != 4 || claims[3].Source != `group of user "last" (/etc/passwd line 9)` || claims[1].Range != (subid.Range{Start: 7, Count: 1}) {
		t.Errorf("%+v", claims)
	}
	groups, bad, err := parseGroup([]byte("root:x:0:\nwheel:x:10:a,b\nx:y\nz:x:z:\n"))
	if d := cmp.Diff([]group{{"root", 0, 1}, {"wheel", 10, 2}}, groups, exported); d != "" || err != nil || bad.n != 2 {
		t.Error(d, err, bad)
	}
	if _, _, err := parsePasswd(bytes.Repeat([]byte("x"), maxLine+1)); err == nil {
		t.Error("a line without end")
	}
	if _, _, err := parseGroup(bytes.Repeat([]byte("\n"), maxEntries+2)); err == nil {
		t.Error("lines without end")
	}
}

func TestParseSubid(t *testing.T) {
	lines, bad, err := parseSubid([]byte("# c\nalice:100000:65536\n1000:165536:65536\nkubelet:65536:4294901760\nover:4294967295:2\nx:1\n:1:2\ny:1:z\neyas:7:8\nzero:5:0\n"))
	want := []subidLine{
		{"alice", subid.Range{Start: 100000, Count: 65536}, 2}, {"1000", subid.Range{Start: 165536, Count: 65536}, 3},
		{"kubelet", subid.Range{Start: 65536, Count: 4294901760}, 4}, {"over", subid.Range{Start: 4294967295, Count: 1}, 5},
		{"eyas", subid.Range{Start: 7, Count: 8}, 9}, {"zero", subid.Range{Start: 5}, 10},
	}
	if d := cmp.Diff(want, lines, exported); d != "" || err != nil || bad.n != 5 {
		t.Error(d, err, bad)
	}
	if c := subidClaims(lines, "/etc/subuid", "eyas"); len(c) != 5 || c[0].Source != `"alice" (/etc/subuid line 2)` {
		t.Errorf("%+v", c)
	}
}

func TestParseNsswitch(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "passwd: files sss\n": false, "subid: files": false, "# subid: sss": false, "subid:\n": false,
		"subid: sss": true, "  subid:\tfiles sss # x\n": true, "subid: files [NOTFOUND=return]": false, "subid: s\x1bs": true,
	} {
		w, exclusive := parseNsswitch("/etc/nsswitch.conf", []byte(text))
		if exclusive != want || want && (w.Kind != SubidExclusive || strings.Contains(w.Text, "\x1b")) {
			t.Errorf("%q: %+v, %v", text, w, exclusive)
		}
	}
}

func TestKubeletRange(t *testing.T) {
	users := []user{{name: "kubelet", uid: 990}}
	good := subid.Range{Start: 805306368, Count: 268435456}
	line := func(login string, r subid.Range) []subidLine { return []subidLine{{login: login, r: r}} }
	for name, tc := range map[string]struct {
		users      []user
		uids, gids []subidLine
		want       subid.Range
		warn       WarningKind
	}{
		"by name":      {users, line("kubelet", good), line("kubelet", good), good, ""},
		"by uid":       {users, line("990", good), line("kubelet", good), good, ""},
		"none":         {nil, nil, nil, subid.Range{}, KubeletRandom},
		"no user":      {nil, line("kubelet", good), line("kubelet", good), subid.Range{}, KubeletRandom},
		"no line":      {users, nil, nil, subid.Range{}, KubeletRange},
		"two lines":    {users, append(line("kubelet", good), line("990", good)...), line("kubelet", good), subid.Range{}, KubeletRange},
		"no gids":      {users, line("kubelet", good), nil, subid.Range{}, KubeletRange},
		"unequal":      {users, line("kubelet", good), line("kubelet", subid.Range{Start: 65536, Count: 65536}), subid.Range{}, KubeletRange},
		"unaligned":    {users, line("kubelet", subid.Range{Start: 100000, Count: 65536}), line("kubelet", subid.Range{Start: 100000, Count: 65536}), subid.Range{}, KubeletRange},
		"others alone": {users, line("alice", good), line("alice", good), subid.Range{}, KubeletRange},
	} {
		got, w := kubeletRange(tc.users, tc.uids, tc.gids)
		if got != tc.want || (tc.warn == "") != (len(w) == 0) || len(w) > 0 && (w[0].Kind != tc.warn || w[0].Fix == "") {
			t.Errorf("%s: %v, %+v", name, got, w)
		}
	}
}

// kubelet gives a pod the same range for uids and gids: that is one.
func TestPodRanges(t *testing.T) {
	at := func(host uint32) []identity.Extent { return []identity.Extent{{Host: host, Count: 65536}} }
	got := podRanges(kubelet.Record{UIDs: at(833617920), GIDs: at(833617920)})
	if d := cmp.Diff([]subid.Range{{Start: 833617920, Count: 65536}}, got); d != "" {
		t.Error(d)
	}
	if got := podRanges(kubelet.Record{UIDs: at(65536), GIDs: at(131072)}); len(got) != 2 {
		t.Error(got)
	}
}

func TestParseStatus(t *testing.T) {
	got, err := parseStatus([]byte("Name:\tUid:\t7\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nThreads:\t3\nCapEff:\t000001fffeffffff\n"))
	want := status{ids: []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, threads: 3, caps: 0x1fffeffffff}
	if d := cmp.Diff(want, got, exported); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, text := range []string{"", "Uid:\t1\t2\t3\t4\n", "Gid:\t1\t2\t3\t4\n", "Uid:\t1\t2\t3\nGid:\t1\t2\t3\t4\n", "Uid:\t1\t2\t3\tx\nGid:\t1\t2\t3\t4\n",
		"Uid:\t1\t2\t3\t4\nGid:\t1\t2\t3\t4\nGroups:\t-1\n"} {
		if got, err := parseStatus([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestIDMap(t *testing.T) {
	got, err := parseIDMap([]byte("         0       1000          1\n         1     100000      65536\n"))
	want := []identity.Extent{{First: 0, Host: 1000, Count: 1}, {First: 1, Host: 100000, Count: 65536}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, text := range []string{"1 2\n", "1 2 3 4\n", "1 2 x\n", "1 2 4294967296\n"} {
		if got, err := parseIDMap([]byte(text)); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	for _, tc := range []struct {
		m    []identity.Extent
		want []subid.Range
	}{
		{[]identity.Extent{{First: 0, Host: 0, Count: 4294967295}}, nil},
		{[]identity.Extent{{First: 0, Host: 0, Count: 1}, {First: 1, Host: 1, Count: 4294967294}}, nil},
		{[]identity.Extent{{First: 0, Host: 0, Count: 1}, {First: 1, Host: 100000, Count: 65536}}, []subid.Range{{Start: 100000, Count: 65536}}},
		{want, []subid.Range{{Start: 1000, Count: 1}, {Start: 100000, Count: 65536}}},
		// A tenant's own namespace, mapped to the same numbers: not the host's.
		{[]identity.Extent{{First: 1 << 30, Host: 1 << 30, Count: 65536}}, []subid.Range{{Start: 1 << 30, Count: 65536}}},
		{[]identity.Extent{{First: 0, Host: 0, Count: 0}, {First: 5, Host: 5, Count: 1}}, []subid.Range{{Start: 5, Count: 1}}},
	} {
		if d := cmp.Diff(tc.want, holds(tc.m)); d != "" {
			t.Errorf("%v: %s", tc.m, d)
		}
	}
}

func TestParseMountinfo(t *testing.T) {
	const plain = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
	for text, want := range map[string]uint64{
		"": 0, plain: 0, plain + "40 27 0:30 / /mnt rw,idmapped,relatime - tmpfs tmpfs rw\n": 40,
		"41 27 0:30 /idmapped /a,idmapped,b rw - tmpfs idmapped idmapped,rw\n": 0, "42 27 0:30 / /a\\040x idmapped - tmpfs x rw\n": 42,
	} {
		if got, err := parseMountinfo(strings.NewReader(text)); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"x\n", "1 2 3 4 5 6\n", "0 1 2 3 4 idmapped - x\n", "z 1 2 3 4 5 - x\n", strings.Repeat("x", maxLine+1)} {
		if got, err := parseMountinfo(strings.NewReader(text)); err == nil {
			t.Errorf("%.20q: %d", text, got)
		}
	}
}

// statmountOf makes what the kernel would: header, then strings.
func statmountOf(mask, attr uint64, uids, gids []string) []byte {
	b := make([]byte, statmountHeaderSize)
	e := binary.NativeEndian
	e.PutUint64(b[8:], mask)
	e.PutUint64(b[40:], 77)
	e.PutUint64(b[64:], attr)
	for i, m := range [][]string{uids, gids} {
		e.PutUint32(b[152+8*i:], uint32(len(m)))
		e.PutUint32(b[156+8*i:], uint32(len(b)-statmountHeaderSize))
		for _, s := range m {
			b = append(b, s+"\x00"...)
		}
	}
	e.PutUint32(b, uint32(len(b)))
	return append(b, make([]byte, 100)...)
}

func TestParseStatmount(t *testing.T) {
	const all = statmountMntBasic | statmountUIDMap | statmountGIDMap
	m, idmapped, err := parseStatmount(statmountOf(all, unix.MOUNT_ATTR_IDMAP, []string{"0 100000 5", "7 200000 9"}, []string{"0 300000 5"}))
	want := idmappedMount{id: 77, uids: []identity.Extent{{First: 0, Host: 100000, Count: 5}, {First: 7, Host: 200000, Count: 9}}, gids: []identity.Extent{{First: 0, Host: 300000, Count: 5}}}
	if d := cmp.Diff(want, m, exported); d != "" || !idmapped || err != nil {
		t.Error(d, idmapped, err)
	}
	if _, idmapped, err := parseStatmount(statmountOf(statmountMntBasic, 0, nil, nil)); idmapped || err != nil {
		t.Error(idmapped, err)
	}
	if _, idmapped, err := parseStatmount(statmountOf(statmountMntBasic, unix.MOUNT_ATTR_IDMAP, nil, nil)); !idmapped || !errors.Is(err, errNoMountMaps) {
		t.Error(idmapped, err)
	}
	for _, b := range [][]byte{nil, make([]byte, 511), statmountOf(0, 0, nil, nil), statmountOf(all, unix.MOUNT_ATTR_IDMAP, []string{"0 1"}, nil),
		statmountOf(all, unix.MOUNT_ATTR_IDMAP, nil, nil)[:statmountHeaderSize-1]} {
		if m, _, err := parseStatmount(b); err == nil {
			t.Errorf("%d bytes: %+v", len(b), m)
		}
	}
}

// Any text gives claims of valid ranges or errors, short and printable.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"root:x:0:0::\n", "a:1:2\n", "subid: sss\n", "Uid:\t1\t2\t3\t4\nGid:\t1\t2\t3\t4\nGroups:\t1\n", "0 1 2\n",
		`{"uidMappings":[{"hostId":1,"length":2}],"gidMappings":[{"hostId":1,"length":2}]}`, "40 27 0:30 / /mnt rw,idmapped - tmpfs x rw\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var claims []subid.Claim
		var errs []error
		users, bad, err := parsePasswd(text)
		claims, errs = append(claims, userClaims(users, "p")...), append(errs, err, bad.first)
		groups, bad, err := parseGroup(text)
		claims, errs = append(claims, groupClaims(groups, "g")...), append(errs, err, bad.first)
		lines, bad, err := parseSubid(text)
		claims, errs = append(claims, subidClaims(lines, "s", "")...), append(errs, err, bad.first)
		w, _ := parseNsswitch("n", text)
		errs = append(errs, fmt.Errorf("%s", w.Text))
		_, ws := kubeletRange(users, lines, lines)
		for _, w := range ws {
			errs = append(errs, fmt.Errorf("%s", w.Text))
		}
		var pod kubelet.Record
		if pod.UIDs, pod.GIDs, err = kubelet.Parse(text); err == nil {
			for _, r := range podRanges(pod) {
				claims = append(claims, subid.Claim{Range: r})
			}
		}
		errs = append(errs, err)
		_, err = parseStatus(text)
		errs = append(errs, err)
		m, err := parseIDMap(text)
		holds(m)
		errs = append(errs, err)
		_, err = parseMountinfo(bytes.NewReader(text))
		errs = append(errs, err)
		for _, c := range claims {
			if c.Range.Count != 0 && c.Range.Validate() != nil || !plain(c.Source) {
				t.Errorf("claim %+v", c)
			}
		}
		for _, err := range errs {
			if err != nil && !plain(err.Error()) {
				t.Errorf("error %q", err)
			}
		}
		subid.NewTaken(claims).By(1 << 30)
	})
}

func plain(s string) bool {
	return len(s) < 2000 && !strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r < ' ' || r == 0x7f })
}

func FuzzParseStatmount(f *testing.F) {
	const all = statmountMntBasic | statmountUIDMap | statmountGIDMap
	f.Add(statmountOf(all, unix.MOUNT_ATTR_IDMAP, []string{"0 100000 5"}, []string{"0 300000 5"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, _, err := parseStatmount(b); err == nil && len(m.uids)+len(m.gids) > 680 {
			t.Errorf("%d extents", len(m.uids))
		}
	})
}

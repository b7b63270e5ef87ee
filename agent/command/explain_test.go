package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/agent/explain"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// golden compares with a file of testdata; EYAS_UPDATE=1 writes it anew.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if os.Getenv("EYAS_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got), EYAS_UPDATE=1 writes it anew:\n%s", file, d)
	}
	if !printable(got) {
		t.Errorf("%s: hostile text is not escaped", name)
	}
}

func TestExplainOutput(t *testing.T) {
	all := []explain.Explanation{
		{
			ID: "first", Error: "open /x: denied", Verdict: explain.Confirmed, Cause: "It is denied, and the cause is " + strings.Repeat("long ", 20), Fix: "allow it\nor else", Seen: []string{"a#1", "b#2"},
			Line: 3, Text: "\x1b[2Jopen /\u202ex: denied",
			Checks: []explain.Finding{
				{On: explain.OnNode, ID: "keys", What: "keys", State: doctor.Warn, Found: "few\x1b[1m", Says: explain.SaysConfirms},
				{On: explain.OnNode, ID: "pids", What: "pids", State: doctor.OK, Found: "many", Says: explain.SaysFine},
				{On: explain.OnContainer, ID: "subuid", State: explain.NotRun, Says: explain.SaysNothing},
			},
		},
		{ID: "second", Verdict: explain.Possible, Cause: "c", Fix: "f", Seen: []string{"s"}, Note: "no check can tell: why", Checks: []explain.Finding{}},
		{ID: "third", Verdict: explain.Possible, Cause: "c", Fix: "f", Seen: []string{"s"}, Checks: []explain.Finding{{On: explain.OnNode, ID: "lsm", State: doctor.Unknown, Says: explain.SaysNothing}}},
		{ID: "fourth", Verdict: explain.RuledOut, Cause: "c", Fix: "f", Seen: []string{"s"}, Checks: []explain.Finding{{On: explain.OnNode, ID: "lsm", State: doctor.OK, Says: explain.SaysFine}}},
	}
	for _, wide := range []bool{false, true} {
		var b bytes.Buffer
		printExplanations(&b, all, wide, true)
		golden(t, map[bool]string{false: "explain", true: "explain-wide"}[wide], b.String())
	}
	var b bytes.Buffer
	if err := writeJSON(&b, all); err != nil {
		t.Fatal(err)
	}
	golden(t, "explain-json", b.String())
}

func TestExplainPathOutput(t *testing.T) {
	uid, gid := uint32(1000), uint32(5)
	maps := []identity.Extent{{First: 0, Host: 200000, Count: 65536}}
	a := pathAnswer{
		Path: "/da\x1bta", In: "33e9d68c4816",
		File: explain.File{
			Kind: "symbolic link", Mode: "0777", Disk: explain.IDs{UID: &uid}, Host: explain.IDs{UID: &uid},
			Mount: explain.Mount{Point: "/\u202e", FSType: "overlay", Device: "0:30", Idmapped: true, UIDMap: maps, GIDMap: maps},
		},
		Levels: []explain.Seen{
			{Where: "node1", IDs: explain.IDs{UID: &uid, GID: &gid}, UserNS: 1}, {Level: 1, Where: "we\nb", IDs: explain.IDs{UID: &uid}, Unmapped: true, UserNS: 2},
		},
		Nobody: []explain.Nobody{{Kind: "gid", Level: 1, Why: "level 1 (we\nb) does not", Fix: "chgrp it\nwiden it"}},
	}
	var b bytes.Buffer
	printPath(&b, a, true)
	golden(t, "explain-path", b.String())
	b.Reset()
	if err := writeJSON(&b, a); err != nil {
		t.Fatal(err)
	}
	golden(t, "explain-path-json", b.String())
}

func TestExplainCalls(t *testing.T) {
	const known = "newuidmap: Could not set caps"
	file := filepath.Join(t.TempDir(), "a\x1bb")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args  []string
		stdin string
		code  int
		text  string // in stdout, or in stderr of what fails
	}{
		{args: []string{known, "--no-checks"}, text: "newuidmap-set-caps: newuidmap: Could not set caps\n"},
		{args: []string{known, "--no-checks", "-o", "json"}, text: `"id": "newuidmap-set-caps"`},
		{args: []string{known}, text: "name it with --in CHAIN"},
		{args: []string{"-", "--no-checks"}, stdin: "a\n" + known + "\x1b[0m\n", text: `2: newuidmap: Could not set caps\x1b[0m`},
		{args: []string{"cat: /foo: No such file or directory"}, code: exitFailed, text: "no known error"},
		{args: []string{"-"}, stdin: "all is well\n", code: exitFailed, text: "no known error"},
		{args: []string{"-"}, stdin: " \n", code: exitUsage, text: "stdin is empty"},
		{args: []string{""}, code: exitUsage, text: "the text is empty"},
		{args: []string{"-"}, stdin: strings.Repeat("x", explain.MaxText+1), code: exitUsage, text: "more than 65536 bytes"},
		{args: nil, code: exitUsage, text: "eyas explain --help"},
		{args: []string{"a", "b", "c"}, code: exitUsage, text: "eyas explain --help"},
		{args: []string{"newuidmap:", "Could"}, code: exitUsage, text: "put it in quotes"},
		{args: []string{known, "-o", "xml"}, code: exitUsage, text: "--output"},
		{args: []string{known, "--in", "web", "--no-checks"}, code: exitUsage, text: "exclude each other"},
		{args: []string{"path"}, code: exitUsage, text: "want a FILE"},
		{args: []string{"path", ""}, code: exitUsage, text: "want a FILE"},
		{args: []string{"path", "/x", "--no-checks"}, code: exitUsage, text: "goes with an error text"},
		{args: []string{"path", "/nonexistent"}, code: exitFailed, text: "no such file"},
		{args: []string{"path", file}, text: `a\x1bb: regular file, mode 0600`},
		{args: []string{"path", file, "-o", "json"}, text: `"nobody": []`},
	} {
		var out, errs bytes.Buffer
		code := Main(t.Context(), Env{Args: append([]string{"explain"}, tc.args...), Stdin: strings.NewReader(tc.stdin), Stdout: &out, Stderr: &errs})
		got := out.String()
		if tc.code != 0 {
			got = errs.String()
		}
		if code != tc.code || !strings.Contains(got, tc.text) || !printable(out.String()+errs.String()) {
			t.Errorf("%.80q: exits with %d, says %q, %q; want %d, %q", tc.args, code, out.String(), errs.String(), tc.code, tc.text)
		}
	}
	var out, errs bytes.Buffer
	if code := Main(t.Context(), Env{Args: []string{"explain", "x", "-o", "json"}, Stdout: &out, Stderr: &errs}); code != exitFailed || out.String() != "[]\n" {
		t.Errorf("exits with %d, says %q", code, out.String())
	}
}

// --in finds the container as doctor does, and says when there is none.
func TestExplainIn(t *testing.T) {
	socket := serve(t, &agent{tree: []identity.TreeNode{}})
	for _, args := range [][]string{{"explain", "newuidmap: Could not set caps"}, {"explain", "path", "/etc/passwd"}} {
		if code, out, errs := run(t, append(args, "--in", "web", "--socket", socket)...); code != exitNotFound || out != "" || !strings.Contains(errs, "no such container") {
			t.Errorf("%q: %d, %q, %q", args, code, out, errs)
		}
	}
}

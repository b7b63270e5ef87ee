package main

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// The list is of the modules that are in this very program.
func TestSBOM(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := run([]string{"-version", "v1", "-created", "2026-01-31T12:00:00Z", exe}, out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two runs differ")
	}
	var d document
	if err := json.Unmarshal(first.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("this program knows nothing of itself")
	}
	ids := map[string]bool{d.ID: true}
	for _, p := range d.Packages {
		if ids[p.ID] {
			t.Errorf("id %s stands twice", p.ID)
		}
		ids[p.ID] = true
	}
	for _, m := range info.Deps {
		if !slices.ContainsFunc(d.Packages, func(p pkg) bool { return p.Name == m.Path && p.Version == m.Version }) {
			t.Errorf("%s %s is missing", m.Path, m.Version)
		}
	}
	if got, want := len(d.Packages), len(info.Deps)+2; got != want {
		t.Errorf("%d packages, want %d", got, want)
	}
	for _, r := range d.Relationships {
		if !ids[r.Element] || !ids[r.Related] {
			t.Errorf("relationship of what is not there: %+v", r)
		}
	}
}

func TestRefused(t *testing.T) {
	for want, args := range map[string][]string{
		"want one program": {},
		"-created":         {"-created", "today", "x"},
		"no such file":     {"/nonexistent"},
	} {
		if err := run(args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
	m := debug.Module{Path: "a", Version: "v1", Sum: "h1:short"}
	if _, err := describe(&debug.BuildInfo{Deps: []*debug.Module{&m}}, "v1", ""); err == nil {
		t.Error("a checksum that is none is taken")
	}
}

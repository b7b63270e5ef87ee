package advise

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// TestMain ends the probes that doctor starts this program for.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == doctor.ProbeArg {
		return
	}
	m.Run()
}

var anchor = regexp.MustCompile(`<a id="([^"]*)"></a>`)

// The guide says what the command says: each mode and claim has one anchor there,
// and what follows it, up to the next one, has the same source; a mode also the same
// words. There is no anchor of anything else.
func TestGuide(t *testing.T) {
	b, err := os.ReadFile("../../docs/decision-guide.md")
	if err != nil {
		t.Fatal(err)
	}
	guide := strings.ReplaceAll(string(b), "`", "")
	said := map[string]string{} // by anchor
	at := anchor.FindAllStringSubmatchIndex(guide, -1)
	for i, m := range at {
		id, last, end := guide[m[2]:m[3]], i, len(guide)
		if said[id] != "" {
			t.Errorf("%s has two anchors", id)
		}
		for last+1 < len(at) && at[last+1][0] == at[last][1] {
			last++ // side by side they are of the same text
		}
		if last+1 < len(at) {
			end = at[last+1][0]
		}
		said[id] = guide[at[last][1]:end]
	}
	known := []string{}
	for _, c := range Claims() {
		known = append(known, c.ID)
		if !strings.Contains(said[c.ID], c.Source) {
			t.Errorf("claim %s: the guide lacks it, or its source %s: %q", c.ID, c.Source, said[c.ID])
		}
	}
	for _, m := range Modes() {
		known = append(known, m.ID)
		text := strings.ReplaceAll(said[m.ID], "*", "")
		for _, part := range []string{m.Source, m.Name, m.Escape, m.Inside, m.Use} {
			if !strings.Contains(text, part) {
				t.Errorf("mode %s: the guide lacks %q: %q", m.ID, part, text)
			}
		}
	}
	for id := range said {
		if !slices.Contains(known, id) {
			t.Errorf("the guide has an anchor of %q, the command does not", id)
		}
	}
	slices.Sort(known)
	if twice := len(known) - len(slices.Compact(slices.Clone(known))); twice > 0 {
		t.Errorf("%d names are there twice: %q", twice, known)
	}
}

// Every check that a mode or a claim goes by is one of doctor's, so that none is
// forgotten when doctor's are renamed.
func TestChecksExist(t *testing.T) {
	there := []string{clusterCheck}
	root := t.TempDir()
	for _, r := range doctor.NewNode(doctor.NodeOptions{Proc: root, Sys: root, Root: root}).Check(t.Context()) {
		there = append(there, r.ID)
	}
	var asked []string
	for _, c := range Claims() {
		asked = append(asked, c.Checks...)
	}
	for _, m := range Modes() {
		asked = append(asked, m.mend...)
		for _, n := range m.needs {
			asked = append(asked, n.any...)
		}
	}
	for _, id := range asked {
		if !slices.Contains(there, id) {
			t.Errorf("doctor has no check %s", id)
		}
	}
	for w, ranked := range ranks {
		for _, id := range ranked {
			if !slices.ContainsFunc(Modes(), func(m Mode) bool { return m.ID == id && m.apart == "" }) {
				t.Errorf("%s: %s is no mode to recommend", w, id)
			}
		}
	}
}

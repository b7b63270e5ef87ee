package metrics

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// documented are the rows of docs/metrics.md that say how many series a container has.
func documented(t *testing.T) map[string]int {
	t.Helper()
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(doc), "| of one container | at most |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if !found {
		t.Fatal("docs/metrics.md does not say how many series a container has")
	}
	bounds := map[string]int{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z ]+) \| (\d+)`).FindAllStringSubmatch(table, -1) {
		bounds[row[1]], _ = strconv.Atoi(row[2])
	}
	return bounds
}

// A container whose every series is there has as many as the documentation says, the
// remainder no more, and a thousand containers as many as the documentation adds up.
func TestSeriesPerContainer(t *testing.T) {
	bounds := documented(t)
	yes := func() error { return nil }
	serve := func(n *node) string {
		h, err := Handler(n.exposition(t), yes, yes, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		return scrape(h, "identity").Body.String()
	}
	nested := regexp.MustCompile(`nested="([^"]+)"`)
	byRoom := map[string]map[string]int{} // by the nested label, by whose they are
	for line := range strings.Lines(serve(newNode(1, 51))) {
		m := nested.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(line, "#") {
			continue
		}
		room := "processes"
		switch name, _, _ := strings.Cut(line, "{"); {
		case strings.HasPrefix(name, "eyas_overlay_"):
			room = "overlays"
		case regexp.MustCompile(`_(memory|swap|cpu|io|pressure)_`).MatchString(name):
			room = "cgroups"
		}
		if byRoom[m[1]] == nil {
			byRoom[m[1]] = map[string]int{}
		}
		byRoom[m[1]][room]++
	}
	if len(byRoom) != 51 {
		t.Errorf("%d nested labels, want 50 and the remainder", len(byRoom))
	}
	for who, got := range byRoom {
		for room, n := range got {
			if want := bounds[room]; n > want || who != "_other" && n != want {
				t.Errorf("%s: %d series of %s, documented are %d", who, n, room, want)
			}
		}
		if len(got) != 3 {
			t.Errorf("%s: %v", who, got)
		}
	}
	// The numbers of the sentence below the table, to the thousand.
	all := map[string]int{}
	for line := range strings.Lines(serve(newNode(20, 50))) {
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "eyas_overlay_"):
			all["overlays"]++
		default:
			all["others"]++
		}
	}
	if d := cmp.Diff([]int{44, 111}, []int{(all["others"] + 500) / 1000, (all["others"] + all["overlays"] + 500) / 1000}); d != "" {
		t.Errorf("thousands of series (-documented +served):\n%s", d)
	}
}

package daemon

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const referenceHead = `# Metrics

<!-- Made from the code: make generate-docs. -->

What ` + "`/metrics`" + ` serves. A family is missing where the kernel, a cgroup controller or the configuration does not give it; ` + "`eyas_hook_state`" + ` and ` + "`eyas doctor node`" + `
say why. Counters begin at 0 when the agent, or the container, starts.

| label | |
| --- | --- |
| ` + "`namespace`, `pod`, `container`" + ` | the outermost container and its pod; ` + "`namespace` and `pod`" + ` are empty where they are not known |
| ` + "`nested`" + ` | short id of the container inside it, at any depth; empty: the outermost one itself; ` + "`_other`" + `: those that have no series of their own, added up |
| ` + "`level`" + ` | how deep that is: 1 is the outermost one |

Process counts are of what is right in a container, so series of one ` + "`container`" + ` can be added up; those of cgroups are of a subtree, so they cannot:
take ` + "`nested=\"\"`" + `. Names are in ` + "`eyas_container_info`" + ` alone.

A Prometheus needs ` + "`honor_labels: true`" + `, or it renames these labels after its target's.

## How many series

| of one container | at most |
| --- | --- |
| processes | 15 |
| cgroups | 28: with all controllers, and pressure |
| overlays | 66 for each depth at which it did I/O, 45 of them of times; and 3 of its root |
| plain directories | 4 |
| denials | 12: one for each cause that there was |
| logs | 4 |

Of all containers in an outermost one, the first ` + "`max-nested-series`" + ` (50) have series of their own; the others together have those of one more, ` + "`_other`" + `. Series end with their container. So 1,000 nested
containers in one sandbox have the series of 51. In 20 sandboxes with 50 each, all have series: 44,000 of processes and cgroups, and 111,000 if all do I/O on overlays.
`

func reference(t *testing.T) string {
	t.Helper()
	all, err := Metrics()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, f := range all {
		if !strings.HasPrefix(f.Metrics[0].Name, "eyas_") {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n| metric | type | labels | |\n| --- | --- | --- | --- |\n", f.Title)
		for _, m := range f.Metrics {
			labels := ""
			if len(m.Labels) > 0 {
				labels = "`" + strings.Join(m.Labels, "`, `") + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, labels, strings.ReplaceAll(m.Help, "|", `\|`))
		}
	}
	b.WriteString("\nBeside these: `go_*` and `process_*` of the Prometheus client library, about the agent's own process.\n")
	return b.String()
}

// TestReference: docs/metrics.md is what the code declares.
func TestReference(t *testing.T) {
	const path = "../../docs/metrics.md"
	want := reference(t)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("docs/metrics.md is stale: run make generate-docs (-code +file):\n%s", d)
	}
}

// TestReferenceIsWhole: each type of the source that describes metrics is asked.
func TestReferenceIsWhole(t *testing.T) {
	describe := regexp.MustCompile(`(?m)^func \(\w* ?\*?(\w+)\) Describe\(\w+ chan<- \*prometheus\.Desc\)`)
	all, err := described()
	if err != nil {
		t.Fatal(err)
	}
	asked := []string{}
	for _, d := range all {
		asked = append(asked, strings.TrimPrefix(fmt.Sprintf("%T", d.c), "*"))
	}
	for _, room := range []string{"agent", "collectors", "exporter", "bpf"} {
		err := filepath.WalkDir("../../"+room, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range describe.FindAllStringSubmatch(string(text), -1) {
				if name := filepath.Base(filepath.Dir(path)) + "." + m[1]; !slices.Contains(asked, name) {
					t.Errorf("%s: what %s describes is not in docs/metrics.md: add it to described", path, name)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestMetricsAreNamedWell(t *testing.T) {
	all, err := Metrics()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range all {
		for _, m := range f.Metrics {
			if seen[m.Name] {
				t.Errorf("%s is declared twice", m.Name)
			}
			seen[m.Name] = true
			if strings.HasPrefix(m.Name, "eyas_") && !strings.HasSuffix(m.Help, ".") {
				t.Errorf("%s: its help is no sentence: %s", m.Name, m.Help)
			}
		}
	}
	for _, bad := range []string{"", "Desc{", `Desc{fqName: "a"}`, `Desc{fqName: "a", help: "b", unit: "", constLabels: {}, variableLabels: {}`} {
		if m, err := parseDesc(bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, m)
		}
	}
}

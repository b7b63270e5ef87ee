package enter

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A name of a process cannot hide when it started.
func TestPrintsStart(t *testing.T) {
	for _, name := range []string{"sh", "a\nb", "\xff\xfe", ") S 1 2", "x) \n) ", "((("} {
		for _, shell := range []string{"sh", "bash"} {
			dir := t.TempDir()
			stat := "7 (" + name + ") S " + strings.Repeat("1 ", 18) + "4711 " + strings.Repeat("2 ", 30) + "\n"
			if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o600); err != nil {
				t.Fatal(err)
			}
			c := exec.Command(shell, "-c", printsStart)
			c.Dir, c.Env = dir, append(os.Environ(), "LANG=C.UTF-8")
			out, err := c.CombinedOutput()
			if err != nil || string(out) != "4711\n" {
				t.Errorf("%s, %q: %q, %v", shell, name, out, err)
			}
		}
	}
}

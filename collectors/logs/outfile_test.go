package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestOutputRotated: a file that is renamed is made anew, and each line is whole in one
// of them.
func TestOutputRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	j := NewJSONLines(f, zerolog.Nop())
	write := func(from, to int) {
		t.Helper()
		var all []identity.LogLine
		for i := from; i < to; i++ {
			all = append(all, identity.LogLine{Body: fmt.Appendf(nil, "%d", i)})
		}
		if err := j.write(all); err != nil {
			t.Fatal(err)
		}
	}
	count := func(path string) int {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 || b[len(b)-1] != '\n' {
			t.Fatalf("%s: %v, %d bytes", path, err, len(b))
		}
		return bytes.Count(b, []byte("\n"))
	}
	write(0, 1000)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(1000, 2000) // not looked yet
	f.looked = time.Time{}
	write(2000, 3000)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.looked = time.Time{}
	write(3000, 3001)
	if a, b := count(path+".1"), count(path); a != 2000 || b != 1 {
		t.Errorf("%d and %d lines", a, b)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

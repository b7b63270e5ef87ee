package command

import (
	"io"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// What goes on and on ends, well, with the input that it was told to end with; without
// that it does not look at it.
func TestAttend(t *testing.T) {
	socket := serve(t, &agent{denials: []identity.DenialAnswer{{Op: "mkdir", Count: 1, Chain: []identity.Link{{Kind: "container", ID: "33e9d68c4816"}}}}})
	call := func(in io.Reader, out io.Writer, args ...string) int {
		return Main(t.Context(), Env{Args: append(args, "--socket", socket), Stdin: in, Stdout: out, Stderr: t.Output()})
	}
	in, held := io.Pipe()
	out, said := io.Pipe()
	done := make(chan int, 1)
	go func() { done <- call(in, said, "--"+attendFlag, "explain", "web", "--follow", "-o", "json") }()
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // it follows
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	select {
	case code := <-done:
		t.Fatalf("it has ended before its input: %d", code)
	default:
	}
	held.Close()
	select {
	case code := <-done:
		if code != exitOK {
			t.Errorf("exit status %d", code)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
	if code := call(unread{t}, io.Discard, "tree"); code != exitOK {
		t.Errorf("exit status %d", code)
	}
}

// unread is an input that nobody may read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("its input was read")
	return 0, io.EOF
}

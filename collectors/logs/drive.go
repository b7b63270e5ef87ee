package logs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/bpf"
)

// Drive writes to a pipe of its own and has process run a program.
func Drive(process bpf.Drive) bpf.Drive {
	return func() error {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		defer w.Close()
		_, first := unix.Write(int(w.Fd()), []byte("a"))
		_, second := unix.Writev(int(w.Fd()), [][]byte{[]byte("b"), []byte("c")})
		return errors.Join(first, second, process())
	}
}

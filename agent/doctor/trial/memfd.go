package trial

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// sealedSelf copies this program into memory that nobody can change.
func sealedSelf() (*os.File, error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer self.Close()
	// Before 6.3 there is no MFD_EXEC, and all can be executed.
	fd, err := unix.MemfdCreate("eyas-trial", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("eyas-trial", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := io.Copy(f, self); err != nil {
		return nil, errors.Join(fmt.Errorf("copy this program: %w", err), f.Close())
	}
	// A descriptor that can write keeps the exec from happening (ETXTBSY).
	defer f.Close()
	if err := f.Chmod(0o555); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE); err != nil {
		return nil, fmt.Errorf("seal the copy of this program: %w", err)
	}
	return os.Open("/proc/self/fd/" + strconv.Itoa(fd))
}

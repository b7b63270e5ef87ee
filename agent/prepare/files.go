package prepare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// fileNames are the files of a lease, and of /etc.
var fileNames = [2]string{"subuid", "subgid"}

// identityUID is a host uid as a namespace without a map of its own has it.
func identityUID(u identity.HostUID) identity.UID { return identity.UID(u) }

// writeFiles makes the two files of a lease. One that is right already stays the
// file that it is: it may be mounted.
func (p *Preparer) writeFiles(r Result) (dir string, err error) {
	dir = filepath.Join(p.o.Files, r.Lease.ID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make files: %w", err)
	}
	p.o.fault("files' directory")
	for i, text := range []string{r.Subuid, r.Subgid} {
		name := fileNames[i]
		if err := p.writeFile(dir, name, text); err != nil {
			return "", fmt.Errorf("write %s of lease %s: %w", name, r.Lease.ID, err)
		}
		p.o.fault(name + " written")
	}
	return dir, nil
}

func (p *Preparer) writeFile(dir, name, text string) error {
	path, tmp := filepath.Join(dir, name), filepath.Join(dir, "."+name)
	if b, err := os.ReadFile(path); err == nil && string(b) == text {
		return nil
	}
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	// The container's users read it, whoever they are on the host, and whatever
	// the umask is.
	if err := os.Chmod(tmp, 0o644); err != nil {
		return err
	}
	p.o.fault(name + " filled")
	return os.Rename(tmp, path)
}

// stale reports whether a file of a lease has another text than r says.
func (p *Preparer) stale(r Result) (stale bool, _ error) {
	for i, text := range []string{r.Subuid, r.Subgid} {
		name := fileNames[i]
		b, err := os.ReadFile(filepath.Join(p.o.Files, r.Lease.ID, name))
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("it is missing, so the container was created without it: create the container again")
		}
		if err != nil {
			return false, fmt.Errorf("read %s of lease %s: %w", name, r.Lease.ID, err)
		}
		stale = stale || string(b) != text
	}
	return stale, nil
}

// rewriteFiles brings the two files to what r says, in place: the container has
// them mounted, and would not see a new file. Nobody reads them yet. Killed half
// way it leaves each of them old, empty or new.
func (p *Preparer) rewriteFiles(r Result) error {
	for i, text := range []string{r.Subuid, r.Subgid} {
		name := fileNames[i]
		f, err := os.OpenFile(filepath.Join(p.o.Files, r.Lease.ID, name), os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return fmt.Errorf("rewrite %s of lease %s: %w", name, r.Lease.ID, err)
		}
		p.o.fault(name + " emptied")
		_, err = f.WriteString(text)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("rewrite %s of lease %s: %w", name, r.Lease.ID, err)
		}
		p.o.fault(name + " rewritten")
	}
	return nil
}

func (p *Preparer) removeFiles(id string) error {
	if err := os.RemoveAll(filepath.Join(p.o.Files, id)); err != nil {
		return fmt.Errorf("remove files: %w", err)
	}
	return nil
}

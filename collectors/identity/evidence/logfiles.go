package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LogFormat is how a runtime writes a container's output to a file.
type LogFormat int

// Formats.
const (
	LogK8s  LogFormat = iota // a line is: time, stream, F or P, text; podman's k8s-file and CRI
	LogJSON                  // a line is an object with log, stream and time; docker's json-file
)

// LogStore is a directory in which a runtime keeps the logs of its containers.
type LogStore struct {
	Dir     string
	Runtime string
}

// LogFile is where a runtime writes a container's output. It may not be there yet.
type LogFile struct {
	ID     string // the runtime's, 64 hex digits
	Path   string
	Format LogFormat
}

// maxStores bounds the stores of one root.
const maxStores = 64

// LogStores lists the stores below the root: podman's and CRI-O's (with graph roots
// as hints, see GraphRoots and MonitorRoots), docker's, nerdctl's, and that of a
// kubelet.
func (r *Root) LogStores(hints []string) []LogStore {
	var all []LogStore
	add := func(runtime, dir string) {
		if len(all) == maxStores {
			return
		}
		if s, err := r.stat(dir + "/."); err == nil && s.IsDir() {
			all = append(all, LogStore{Dir: dir, Runtime: runtime})
		}
	}
	seen := map[string]bool{}
	for _, dir := range r.graphRoots(hints) {
		if seen[dir] {
			continue
		}
		seen[dir] = true
		add(RuntimePodman, filepath.Join(dir, "overlay-containers"))
		add(RuntimePodman, filepath.Join(dir, "vfs-containers"))
	}
	for _, dir := range r.dataRoots() {
		add(RuntimeDocker, filepath.Join(dir, "containers"))
	}
	for _, data := range append(r.users("/home", ".local/share/nerdctl"), "/var/lib/nerdctl", "/root/.local/share/nerdctl") {
		for _, host := range r.users(data, "containers") { // one per containerd
			for _, namespace := range r.users(host, "") {
				add(RuntimeContainerd, namespace)
			}
		}
	}
	add(RuntimeCRI, "/var/log/containers")
	return all
}

// LogFiles lists the containers of a store, at most that many.
func (r *Root) LogFiles(s LogStore, most int) ([]LogFile, error) {
	names, err := r.list(s.Dir, most)
	if err != nil {
		return nil, err
	}
	var all []LogFile
	for _, n := range names {
		if f, ok := r.logFile(s, n); ok {
			all = append(all, f)
		}
	}
	return all, nil
}

func (r *Root) logFile(s LogStore, name string) (f LogFile, ok bool) {
	if s.Runtime == RuntimeCRI { // POD_NAMESPACE_CONTAINER-ID.log, a link
		base, is := strings.CutSuffix(name, ".log")
		if f.ID = base[max(len(base)-64, 0):]; !is || !isHex64(f.ID) {
			return f, false
		}
		f.Path, ok = r.linkTo(filepath.Join(s.Dir, name))
		return f, ok
	}
	if !isHex64(name) {
		return f, false
	}
	f.ID = name
	switch s.Runtime {
	case RuntimePodman:
		f.Path = filepath.Join(s.Dir, name, "userdata", "ctr.log")
	default:
		f.Path, f.Format = filepath.Join(s.Dir, name, name+"-json.log"), LogJSON
	}
	return f, true
}

// linkTo returns where a link leads, if that is a plain path.
func (r *Root) linkTo(path string) (string, bool) {
	at, err := r.open(path, unix.O_PATH)
	if err != nil {
		return "", false
	}
	defer at.Close()
	b := make([]byte, maxPath)
	n, err := unix.Readlinkat(int(at.Fd()), "", b)
	if err != nil {
		return "", false
	}
	to := string(b[:n])
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(path), to)
	}
	return to, plainPath(to)
}

func (r *Root) stat(path string) (os.FileInfo, error) {
	at, err := r.open(path, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	return at.Stat()
}

// Stat looks at a path, of which the last component may be no link.
func (r *Root) Stat(path string) (os.FileInfo, error) {
	s, err := r.stat(path)
	if err != nil {
		return nil, fmt.Errorf("look at %q below a sandbox's root: %w", path, err)
	}
	return s, nil
}

// Changed returns when a directory was changed last.
func (r *Root) Changed(dir string) (time.Time, error) {
	s, err := r.Stat(dir + "/.")
	if err != nil {
		return time.Time{}, err
	}
	return s.ModTime(), nil
}

// OpenFile opens a regular file for reading, as read does: what it is, is looked at
// before. Whoever reads from it reads no more than its size. The caller closes it.
func (r *Root) OpenFile(path string) (*os.File, error) {
	f, err := r.openFile(path)
	if err != nil {
		return nil, fmt.Errorf("open %q below a sandbox's root: %w", path, err)
	}
	return f, nil
}

func (r *Root) openFile(path string) (*os.File, error) {
	at, err := r.open(path, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	info, err := at.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file: mode %v", info.Mode())
	}
	self := "/proc/self/fd/" + strconv.Itoa(int(at.Fd()))
	f, err := os.OpenFile(self, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	return f, nil
}

// maxArgs bounds what is read of a monitor's arguments.
const maxArgs = 64 << 10

// MonitorRoots finds podman's graph roots in the arguments of a container's monitor:
// conmon is told the bundle, ROOT/DRIVER-containers/ID/userdata. They are hints of
// where to look: the arguments are the sandbox's.
func MonitorRoots(procfs string, pid int) []string {
	f, err := os.Open(filepath.Join(procfs, strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxArgs))
	if err != nil {
		return nil
	}
	var roots []string
	for a := range bytes.SplitSeq(b, []byte{0}) {
		for _, driver := range []string{"/overlay-containers/", "/vfs-containers/"} {
			if root, _, ok := strings.Cut(string(a), driver); ok && plainPath(root) {
				roots = append(roots, root)
			}
		}
	}
	return roots[:min(len(roots), 4)]
}

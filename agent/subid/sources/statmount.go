package sources

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// What golang.org/x/sys does not have yet (include/uapi/linux/mount.h, nsfs.h).
const (
	lsmtRoot            = ^uint64(0) // all mounts of the namespace
	statmountMntBasic   = 0x2
	statmountUIDMap     = 0x2000     // Linux 6.15
	statmountGIDMap     = 0x4000     // Linux 6.15
	nsMntGetNext        = 0x8010b70b // _IOR(0xb7, 11, struct mnt_ns_info), Linux 6.12
	nsMntGetPrev        = 0x8010b70c
	nsMntGetInfo        = 0x8010b70a
	maxMountNamespaces  = 1 << 17
	maxListed           = 512
	maxStatmount        = 1 << 18
	statmountHeaderSize = 512
)

// mntIDReq is struct mnt_id_req, version 1.
type mntIDReq struct {
	size, spare        uint32
	mntID, param, nsID uint64
}

// mntNSInfo is struct mnt_ns_info.
type mntNSInfo struct {
	size, mounts uint32
	id           uint64
}

// errNoMountMaps: the kernel tells of an idmapped mount, but not its map.
var errNoMountMaps = errors.New("kernel before 6.15")

// idmappedMounts returns those of all mount namespaces, from the kernel itself:
// it goes from namespace to namespace (CAP_SYS_ADMIN), and needs no process in
// one. Ids are never used again, so what ends meanwhile is simply gone.
func idmappedMounts(proc string) ([]idmappedMount, error) {
	f, err := os.Open(filepath.Join(proc, "self", "ns", "mnt"))
	if err != nil {
		return nil, err
	}
	start := int(f.Fd())
	defer f.Close()
	var out []idmappedMount
	n := 0
	one := func(fd int) error {
		if n++; n > maxMountNamespaces {
			return fmt.Errorf("more than %d mount namespaces", maxMountNamespaces)
		}
		mounts, err := mountsOf(fd)
		out = append(out, mounts...)
		return err
	}
	if err := one(start); err != nil {
		return nil, err
	}
	for _, way := range []uint{nsMntGetNext, nsMntGetPrev} {
		fd := start
		for {
			next, err := mntNSIoctl(fd, way, &mntNSInfo{size: 16})
			if fd != start {
				unix.Close(fd)
			}
			if errors.Is(err, unix.ENOENT) {
				break // the last
			}
			if err != nil {
				return nil, fmt.Errorf("go to the next mount namespace: %w", err)
			}
			fd = next // the kernel opens it with O_CLOEXEC
			if err := one(fd); err != nil {
				unix.Close(fd)
				return nil, err
			}
		}
	}
	return out, nil
}

func mntNSIoctl(fd int, request uint, info *mntNSInfo) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(info)))
	runtime.KeepAlive(info)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// mountsOf returns the idmapped mounts of one namespace.
func mountsOf(fd int) ([]idmappedMount, error) {
	info := mntNSInfo{size: 16}
	if _, err := mntNSIoctl(fd, nsMntGetInfo, &info); err != nil {
		return nil, fmt.Errorf("ask for a mount namespace's id: %w", err)
	}
	var out []idmappedMount
	var ids [maxListed]uint64
	buf := make([]byte, 4096)
	req := mntIDReq{size: 32, mntID: lsmtRoot, nsID: info.id}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_LISTMOUNT, uintptr(unsafe.Pointer(&req)), uintptr(unsafe.Pointer(&ids[0])), maxListed, 0, 0, 0)
		if errno == unix.ENOENT {
			return out, nil // the namespace ended
		}
		if errno != 0 {
			return nil, fmt.Errorf("list mounts: %w", errno)
		}
		for _, id := range ids[:n] {
			m, idmapped, err := statmount(id, info.id, &buf)
			if errors.Is(err, unix.ENOENT) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if idmapped {
				out = append(out, m)
			}
		}
		if n < maxListed {
			return out, nil
		}
		req.param = ids[n-1]
	}
}

func statmount(id, ns uint64, buf *[]byte) (idmappedMount, bool, error) {
	req := mntIDReq{size: 32, mntID: id, param: statmountMntBasic | statmountUIDMap | statmountGIDMap, nsID: ns}
	for {
		_, _, errno := unix.Syscall6(unix.SYS_STATMOUNT, uintptr(unsafe.Pointer(&req)), uintptr(unsafe.Pointer(&(*buf)[0])), uintptr(len(*buf)), 0, 0, 0)
		if errno == unix.EOVERFLOW && len(*buf) < maxStatmount {
			*buf = make([]byte, 2*len(*buf))
			continue
		}
		if errno != 0 {
			return idmappedMount{}, false, fmt.Errorf("statmount: %w", errno)
		}
		return parseStatmount(*buf)
	}
}

// parseStatmount reads struct statmount: its size, mask, the mount's id and
// attributes, and the maps, as counts and offsets of strings behind the header.
func parseStatmount(b []byte) (idmappedMount, bool, error) {
	if len(b) < statmountHeaderSize {
		return idmappedMount{}, false, fmt.Errorf("statmount: %d bytes, fewer than the header", len(b))
	}
	u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	size, mask, attr := int(u32(b)), u64(b[8:]), u64(b[64:])
	m := idmappedMount{id: u64(b[40:])}
	if mask&statmountMntBasic == 0 {
		return m, false, errors.New("statmount: no attributes")
	}
	if attr&unix.MOUNT_ATTR_IDMAP == 0 {
		return m, false, nil
	}
	if mask&statmountUIDMap == 0 || mask&statmountGIDMap == 0 {
		return m, true, errNoMountMaps
	}
	if size < statmountHeaderSize || size > len(b) {
		return m, true, fmt.Errorf("statmount: size %d of %d", size, len(b))
	}
	for _, field := range []struct {
		at int
		to *[]identity.Extent
	}{{152, &m.uids}, {160, &m.gids}} {
		n, off := u32(b[field.at:]), u32(b[field.at+4:])
		if n > 340 || uint64(off) > uint64(size-statmountHeaderSize) {
			return m, true, fmt.Errorf("statmount: %d extents at %d", n, off)
		}
		text := strings.SplitN(string(b[statmountHeaderSize+int(off):size]), "\x00", int(n)+1)
		if len(text) <= int(n) {
			return m, true, fmt.Errorf("statmount: fewer than %d extents", n)
		}
		extents, err := parseIDMap([]byte(strings.Join(text[:n], "\n")))
		if err != nil {
			return m, true, fmt.Errorf("statmount: %w", err)
		}
		*field.to = extents
	}
	return m, true, nil
}

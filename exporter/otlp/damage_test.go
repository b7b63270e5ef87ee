package otlp

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
)

// A file that cannot be read is set aside.
func TestDiskDamaged(t *testing.T) {
	for name, write := range map[string]func(path string) error{
		"text":  func(p string) error { return os.WriteFile(p, []byte("nonsense"), 0o600) },
		"zeros": func(p string) error { return os.WriteFile(p, make([]byte, 64<<10), 0o600) },
		"value": func(p string) error {
			db, err := bolt.Open(p, 0o600, nil)
			if err != nil {
				return err
			}
			defer db.Close()
			return db.Update(func(tx *bolt.Tx) error {
				b, err := tx.CreateBucket(bucket)
				if err != nil {
					return err
				}
				return b.Put([]byte("12345678"), []byte("short"))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, GRPC, nil).start(t)
			o := diskOptions(t, r)
			path := filepath.Join(o.DiskDir, diskFile)
			if err := os.MkdirAll(o.DiskDir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := write(path); err != nil {
				t.Fatal(err)
			}
			e, stop := run(t, o)
			e.Put(lines("x"))
			stop()
			if _, err := os.Stat(path + ".damaged"); err != nil || e.Stats().Sent.Records != 1 {
				t.Errorf("%v: %+v", err, e.Stats())
			}
		})
	}
}

// A batch that cannot be decoded is dropped and counted; the next ones are sent.
func TestDiskUnreadableBatch(t *testing.T) {
	r := gone(t, GRPC)
	o := diskOptions(t, r)
	e, stop := run(t, o)
	e.Put(lines(numbered(0, 3)...))
	start := time.Now()
	stop()
	if d := time.Since(start); d > o.Drain/2 {
		t.Errorf("an end with a receiver that turns out to be down took %s", d)
	}
	db, err := bolt.Open(filepath.Join(o.DiskDir, diskFile), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		v := append(make([]byte, 7, 99), 4)
		v = append(v, 0, 0, 0, 0, 0, 0, 1, 0)
		return tx.Bucket(bucket).Put(make([]byte, 8), append(v, "nonsense"...))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	r.start(t)
	e, stop = run(t, o)
	until(t, "arrival", func() bool { return e.Stats().Disk.Records == 0 })
	stop()
	s := e.Stats()
	if d := cmp.Diff(numbered(0, 3), r.bodies()); d != "" || s.Dropped[DropDisk] != (Count{4, 256}) {
		t.Errorf("%s: %+v", d, s)
	}
}

// Damage that is met while it runs costs what is on disk, and no more.
func TestDiskFailsLater(t *testing.T) {
	r := gone(t, GRPC)
	o := diskOptions(t, r)
	var log logged
	o.Log = zerolog.New(&log)
	e, stop := run(t, o)
	e.Put(lines("under way"))
	until(t, "down", e.down)
	e.Put(lines(numbered(0, 5)...))
	until(t, "lines on disk", func() bool { return e.Stats().Disk.Records == 5 })
	e.disk.mu.Lock()
	_ = e.disk.guard(func() error { panic("page 7: bad") })
	e.disk.mu.Unlock()
	e.Put(lines(numbered(5, 8)...))
	until(t, "the loss", func() bool { return e.Stats().Dropped[DropDisk].Records == 5 })
	r.start(t)
	until(t, "arrival", func() bool { return e.Stats().Sent.Records == 4 })
	stop()
	if log.count("cannot be kept on disk") != 1 {
		t.Error("it is not said once")
	}
}

func TestDiskLocked(t *testing.T) {
	o := diskOptions(t, gone(t, GRPC))
	_, stop := run(t, o)
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Error(err)
	}
	stop()
	o.DiskDir = "/proc/nowhere"
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "choose another") {
		t.Error(err)
	}
}

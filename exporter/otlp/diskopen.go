package otlp

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// openDisk opens the file, or makes it. A damaged one is set aside.
func openDisk(dir string, limit int64, log zerolog.Logger) (d *disk, found Count, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, found, fmt.Errorf("make directory of the OTLP queue: %w: make it writable or choose another", err)
	}
	d = &disk{path: filepath.Join(dir, diskFile), limit: limit * fillPercent / 100, log: log}
	if err = d.open(limit); errors.Is(err, errDamaged) {
		d.setAside(err)
		err = d.open(limit)
	}
	if err != nil {
		return nil, found, err
	}
	err = d.guard(func() error {
		return d.db.View(func(tx *bolt.Tx) error {
			return tx.Bucket(bucket).ForEach(func(_, v []byte) error {
				if len(v) < header {
					return fmt.Errorf("%w: a batch of %d bytes", errDamaged, len(v))
				}
				found.add(countOf(v))
				d.grow(int64(len(v)), 1)
				return nil
			})
		})
	})
	if err == nil {
		return d, found, nil
	}
	// guard has set the file aside.
	return d, Count{}, d.open(limit)
}

func (d *disk) open(limit int64) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("open %s: %w: %v", d.path, errDamaged, r)
		}
	}()
	db, err := bolt.Open(d.path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType, MaxSize: int(limit)})
	var path *os.PathError
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("open OTLP queue %s: another process has it open: stop that, or choose another directory", d.path)
	case errors.As(err, &path):
		return fmt.Errorf("open OTLP queue: %w: make its directory writable or choose another", err)
	case err != nil: // bbolt has no error of its own for a short file
		return fmt.Errorf("open OTLP queue %s: %w: %w", d.path, errDamaged, err)
	}
	db.AllocSize = 1 << 20 // grow in small steps
	if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucketIfNotExists(bucket); return err }); err != nil {
		return errors.Join(fmt.Errorf("prepare OTLP queue %s: %w", d.path, err), db.Close())
	}
	d.db = db
	return nil
}

func (d *disk) setAside(why error) {
	aside := d.path + ".damaged" // one is kept
	err := os.Rename(d.path, aside)
	d.log.Error().AnErr("reason", why).AnErr("rename", err).Str("set_aside", aside).Msg("OTLP queue on disk is damaged")
}

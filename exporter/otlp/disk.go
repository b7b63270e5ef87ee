package otlp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// errDamaged means that the file cannot be read, and is not used any more.
var errDamaged = errors.New("queue on disk is damaged")

// bucket has batches by number, the oldest first.
var bucket = []byte("batches.1")

const (
	diskFile = "otlp-queue.db"
	// Deleting needs free pages, too.
	fillPercent = 75
)

// disk is the queue on disk: one bbolt file. A write returns when it is durable.
type disk struct {
	path  string
	limit int64 // of all values
	log   zerolog.Logger

	batches, used atomic.Int64 // used: bytes of values. Read without mu, lest a slow disk hold others up

	mu   sync.Mutex // one at a time: bbolt has one writer anyway
	db   *bolt.DB   // nil: it is damaged, or closed
	busy []byte     // key of the batch that is under way
}

// grow counts what is in the file.
func (d *disk) grow(bytes, batches int64) {
	d.used.Add(bytes)
	d.batches.Add(batches)
}

// guard runs f; when that meets damage, the file is set aside, and the queue ends.
// bbolt may then hold a lock, so it is not closed: the descriptor goes with the
// process.
func (d *disk) guard(f func() error) (err error) {
	if d.db == nil {
		return errDamaged
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
		if errors.Is(err, errDamaged) {
			d.db = nil
			d.used.Store(0)
			d.batches.Store(0)
			d.setAside(err)
		}
	}()
	return f()
}

// put stores a batch; pushed is what had to go for it, also if that was in vain.
func (d *disk) put(b batch) (pushed Count, err error) {
	value, err := encode(b)
	if err != nil {
		return pushed, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	size := int64(len(value))
	for room := d.limit - size; ; room -= d.limit / 8 {
		more, err := d.makeRoom(room)
		pushed.add(more)
		if err == nil {
			err = d.guard(func() error {
				return d.db.Update(func(tx *bolt.Tx) error {
					key, err := tx.Bucket(bucket).NextSequence()
					if err != nil {
						return err
					}
					return tx.Bucket(bucket).Put(binary.BigEndian.AppendUint64(nil, key), value)
				})
			})
		}
		if err == nil {
			d.grow(size, 1)
			return pushed, nil
		}
		// Free pages can lie so that none of their runs is long enough.
		if !errors.Is(err, bolterrors.ErrMaxSizeReached) || room <= 0 {
			return pushed, fmt.Errorf("write OTLP queue %s: %w", d.path, err)
		}
	}
}

// makeRoom removes the oldest batches, but that under way, until no more than room
// bytes are left. Its transaction is its own: the next one can use their pages.
func (d *disk) makeRoom(room int64) (pushed Count, err error) {
	if d.used.Load() <= room {
		return pushed, nil
	}
	var freed, n int64
	err = d.guard(func() error {
		return d.db.Update(func(tx *bolt.Tx) error {
			all := tx.Bucket(bucket)
			c := all.Cursor()
			for k, v := c.First(); k != nil && d.used.Load()-freed > room; k, v = c.First() {
				if bytes.Equal(k, d.busy) {
					if k, v = c.Next(); k == nil {
						break
					}
				}
				pushed.add(countOf(v))
				freed, n = freed+int64(len(v)), n+1
				if err := all.Delete(bytes.Clone(k)); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return Count{}, err
	}
	d.grow(-freed, -n)
	return pushed, nil
}

// peek returns the oldest batch, which stays and is under way until remove. A
// batch that cannot be decoded has no entries.
func (d *disk) peek() (b batch, ok bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.empty() {
		return b, false, nil
	}
	err = d.guard(func() error {
		return d.db.View(func(tx *bolt.Tx) error {
			k, v := tx.Bucket(bucket).Cursor().First()
			if k == nil {
				return fmt.Errorf("%w: %d batches are missing", errDamaged, d.batches.Load())
			}
			b, ok = batch{key: bytes.Clone(k), Count: countOf(v)}, true
			if b.entries, err = decode(v); err != nil {
				d.log.Error().AnErr("reason", err).Msg("log lines in the OTLP queue on disk cannot be read")
			}
			return nil
		})
	})
	d.busy = b.key
	return b, ok, err
}

// remove removes what peek returned.
func (d *disk) remove(key []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy = nil
	return d.guard(func() error {
		size := 0
		err := d.db.Update(func(tx *bolt.Tx) error {
			size = len(tx.Bucket(bucket).Get(key))
			return tx.Bucket(bucket).Delete(key)
		})
		if err != nil { // it would be sent again, and again
			return fmt.Errorf("remove from OTLP queue %s: %w: %w", d.path, errDamaged, err)
		}
		d.grow(-int64(size), -1)
		return nil
	})
}

func (d *disk) empty() bool { return d.batches.Load() == 0 }

func (d *disk) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.db == nil {
		return nil
	}
	err := d.db.Close()
	d.db = nil
	return err
}

package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// State says how far a lease has come.
type State string

// The states, in the order in which a lease goes through them.
const (
	Intent    State = "intent"    // about to be prepared, or preparation failed half way
	Done      State = "done"      // prepared: a container may use it
	Releasing State = "releasing" // being taken back
	Tombstone State = "tombstone" // proven free; kept to tell whose a uid was
)

// legal lists the states that may follow a state.
var legal = map[State][]State{
	Intent:    {Done, Releasing},
	Done:      {Releasing},
	Releasing: {Tombstone},
	Tombstone: nil,
}

// Range is a run of host uids and gids, Start to Start+Count-1. The zero Range
// is empty.
type Range struct {
	Start uint32
	Count uint32
}

// Empty reports whether there is no id in r.
func (r Range) Empty() bool { return r.Count == 0 }

// Last returns the last id in r, 0 if r is empty.
func (r Range) Last() uint32 {
	if r.Empty() {
		return 0
	}
	return r.Start + r.Count - 1
}

// Overlaps reports whether an id is in both.
func (r Range) Overlaps(o Range) bool {
	return !r.Empty() && !o.Empty() && r.Start <= o.Last() && o.Start <= r.Last()
}

func (r Range) String() string {
	if r.Empty() {
		return "no range"
	}
	return fmt.Sprintf("%d-%d", r.Start, r.Last())
}

// check refuses a range that wraps around or holds 4294967295, which chown(2)
// takes for "leave it".
func (r Range) check() error {
	if r.Empty() && r.Start != 0 {
		return fmt.Errorf("range starts at %d and is empty", r.Start)
	}
	if uint64(r.Start)+uint64(r.Count) > math.MaxUint32 {
		return fmt.Errorf("range %d:%d passes the last id 4294967294", r.Start, r.Count)
	}
	return nil
}

// wireRange has the last id too. People read it, and it tells whether the
// numbers in a damaged file are those that were written.
type wireRange struct {
	Start uint32 `json:"start"`
	Count uint32 `json:"count"`
	Last  uint32 `json:"last"`
}

// MarshalJSON writes start, count and last.
func (r Range) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireRange{r.Start, r.Count, r.Last()})
}

// UnmarshalJSON refuses a range whose three numbers contradict each other.
func (r *Range) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var w wireRange
	if err := d.Decode(&w); err != nil {
		return err
	}
	got := Range{w.Start, w.Count}
	if got.Last() != w.Last {
		return fmt.Errorf("range %d:%d does not end at %d", w.Start, w.Count, w.Last)
	}
	*r = got
	return nil
}

// Owner is the container that a lease is for, as its runtime names it.
type Owner struct {
	Namespace   string `json:"namespace,omitempty"`
	Pod         string `json:"pod,omitempty"`
	PodUID      string `json:"pod_uid,omitempty"`
	Container   string `json:"container,omitempty"`
	ContainerID string `json:"container_id,omitempty"`
	Runtime     string `json:"runtime,omitempty"`
}

// Lease is what one container has been lent. ID, Range, Boot and Created never
// change. All text is printable and bounded, and none of it is secret.
type Lease struct {
	ID        string    `json:"id"` // [a-z0-9-]{1,64}, and the file's name
	State     State     `json:"state"`
	Range     Range     `json:"range"`            // host ids; may be empty
	InPod     []string  `json:"in_pod,omitempty"` // lines of /etc/subuid written for the pod
	Profile   string    `json:"profile,omitempty"`
	Owner     Owner     `json:"owner"`
	Cgroup    string    `json:"cgroup,omitempty"`    // path below the cgroup2 mount
	CgroupID  uint64    `json:"cgroup_id,omitempty"` // its inode number
	UID       uint32    `json:"uid"`                 // delegate: who was given the cgroup
	GID       uint32    `json:"gid"`
	Unsettled bool      `json:"user_unsettled,omitempty"` // uid, gid, in_pod and the files may be another user's than the container's
	Boot      string    `json:"boot"`                     // the kernel's boot id; cgroup ids belong to it
	Created   time.Time `json:"created"`
	Updated   time.Time `json:"updated"`
	Released  time.Time `json:"released,omitzero"` // set with Tombstone, and only then
	Steps     []string  `json:"steps,omitempty"`   // what has been done and must be undone
	Proof     string    `json:"proof,omitempty"`   // why it is believed to be free
}

// Live reports whether the range is taken: in every state but Tombstone.
func (l Lease) Live() bool { return l.State != Tombstone }

// Bounds of one lease.
const (
	maxText  = 1024 // bytes of one text
	maxPath  = 4096 // bytes of Cgroup: PATH_MAX
	maxLines = 64   // InPod, Steps
)

func (l Lease) clone() Lease {
	l.InPod, l.Steps = slices.Clone(l.InPod), slices.Clone(l.Steps)
	return l
}

// normal brings a lease to the form in which it is compared and written:
// times in UTC and milliseconds, no empty slices.
func (l Lease) normal() Lease {
	l = l.clone()
	for _, t := range []*time.Time{&l.Created, &l.Updated, &l.Released} {
		*t = t.UTC().Truncate(time.Millisecond)
	}
	if len(l.InPod) == 0 {
		l.InPod = nil
	}
	if len(l.Steps) == 0 {
		l.Steps = nil
	}
	return l
}

// ValidID reports whether id may name a lease: [a-z0-9-]{1,64}.
func ValidID(id string) bool {
	if len(id) < 1 || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// check says what is wrong with a lease by itself.
func (l Lease) check() error {
	if !ValidID(l.ID) {
		return fmt.Errorf("id %q is not [a-z0-9-]{1,64}", l.ID)
	}
	if _, ok := legal[l.State]; !ok {
		return fmt.Errorf("state %q is not known", l.State)
	}
	if l.Released.IsZero() != l.Live() {
		return fmt.Errorf("state %s contradicts its release time", l.State)
	}
	if err := l.Range.check(); err != nil {
		return err
	}
	for _, t := range []time.Time{l.Created, l.Updated, l.Released} {
		if y := t.UTC().Year(); y < 1 || y > 9999 {
			return fmt.Errorf("year %d is out of range", y)
		}
	}
	if l.Created.IsZero() || l.Updated.IsZero() {
		return errors.New("has no creation or update time")
	}
	if len(l.InPod) > maxLines || len(l.Steps) > maxLines {
		return fmt.Errorf("has more than %d in-pod lines or steps", maxLines)
	}
	for _, t := range append([]string{
		l.Profile, l.Owner.Namespace, l.Owner.Pod, l.Owner.PodUID, l.Owner.Container,
		l.Owner.ContainerID, l.Owner.Runtime, l.Boot, l.Proof,
	}, append(l.Steps, l.InPod...)...) {
		if err := checkText(t, maxText); err != nil {
			return err
		}
	}
	return checkText(l.Cgroup, maxPath)
}

// checkText refuses what a terminal would act on: the files are read with cat.
func checkText(s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("text of %d bytes is longer than %d", len(s), limit)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("text %q is not UTF-8", s)
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("text %q is not printable", s)
		}
	}
	return nil
}

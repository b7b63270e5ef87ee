package bpf

import "time"

// OverlayKey says whose I/O a row counts, and on which overlay.
type OverlayKey struct {
	Who   CountsKey
	Dev   uint32 // as the kernel has it; see Device
	Depth uint16 // 1: an overlay upon other file systems; 2: upon an overlay; 0: fuse-overlayfs
}

// Device returns the major and minor number of the overlay, as in mountinfo.
func (k OverlayKey) Device() (major, minor uint32) { return k.Dev >> 20, k.Dev & (1<<20 - 1) }

// Buckets is the number of a Histogram's buckets; the last has no bound.
const Buckets = len(overlayEyasHistogram{}.Bucket)

// BucketBound returns the upper bound of bucket i < Buckets-1.
func BucketBound(i int) time.Duration { return 1024 * time.Nanosecond << (2 * i) }

// Histogram of durations. Untimed calls are in no bucket.
type Histogram struct {
	Bucket  [Buckets]uint64 // not cumulative
	Untimed uint64
	Sum     time.Duration
}

// Timed is the number of calls in buckets.
func (h *Histogram) Timed() (n uint64) {
	for _, b := range h.Bucket {
		n += b
	}
	return n
}

// Calls is the number of calls, timed or not.
func (h *Histogram) Calls() uint64 { return h.Timed() + h.Untimed }

func (h *Histogram) add(o *Histogram) {
	for i, n := range o.Bucket {
		h.Bucket[i] += n
	}
	h.Untimed += o.Untimed
	h.Sum += o.Sum
}

// Overlay is what one overlay did for one container. The numbers only grow; calls that
// failed are not counted.
type Overlay struct {
	Reads, Writes, CopyUps              Histogram
	ReadBytes, WriteBytes               uint64
	Queued                              uint64 // reads and writes that went on asynchronously: their bytes are not known
	SpliceReads, SpliceReadBytes        uint64
	SpliceWrites, SpliceWriteBytes      uint64
	CopyRanges, CopyRangeBytes          uint64 // copy_file_range, by the file written to
	Opens, Mmaps, Faults                uint64
	Creates, Removes, Whiteouts         uint64
	DataCopyUps, MetaCopyUps, OtherCopy uint64 // files with and without their content; all else
	CopyUpBytes                         uint64
}

// Add adds o to v.
func (v *Overlay) Add(o *Overlay) {
	v.Reads.add(&o.Reads)
	v.Writes.add(&o.Writes)
	v.CopyUps.add(&o.CopyUps)
	for _, f := range []struct {
		to   *uint64
		from uint64
	}{
		{&v.ReadBytes, o.ReadBytes}, {&v.WriteBytes, o.WriteBytes}, {&v.Queued, o.Queued},
		{&v.SpliceReads, o.SpliceReads}, {&v.SpliceReadBytes, o.SpliceReadBytes},
		{&v.SpliceWrites, o.SpliceWrites}, {&v.SpliceWriteBytes, o.SpliceWriteBytes},
		{&v.CopyRanges, o.CopyRanges}, {&v.CopyRangeBytes, o.CopyRangeBytes},
		{&v.Opens, o.Opens}, {&v.Mmaps, o.Mmaps}, {&v.Faults, o.Faults},
		{&v.Creates, o.Creates}, {&v.Removes, o.Removes}, {&v.Whiteouts, o.Whiteouts},
		{&v.DataCopyUps, o.DataCopyUps}, {&v.MetaCopyUps, o.MetaCopyUps}, {&v.OtherCopy, o.OtherCopy},
		{&v.CopyUpBytes, o.CopyUpBytes},
	} {
		*f.to += f.from
	}
}

func overlayKey(k *overlayEyasOverlayKey) OverlayKey {
	return OverlayKey{
		Who: CountsKey{
			PIDNSStart: k.Who.PidnsStart, UserNSID: k.Who.UsernsId, Cgroup: k.Who.Cgroup, PIDNS: k.Who.Pidns, UserNS: k.Who.Userns,
		},
		Dev: k.Dev, Depth: k.Depth,
	}
}

func rawOverlayKey(k OverlayKey) (raw overlayEyasOverlayKey) {
	raw.Who.PidnsStart, raw.Who.UsernsId, raw.Who.Cgroup = k.Who.PIDNSStart, k.Who.UserNSID, k.Who.Cgroup
	raw.Who.Pidns, raw.Who.Userns = k.Who.PIDNS, k.Who.UserNS
	raw.Dev, raw.Depth = k.Dev, k.Depth
	return raw
}

func overlayRow(v *overlayEyasOverlay) Overlay {
	histogram := func(bucket [Buckets]uint64, untimed, sum uint64) Histogram {
		return Histogram{Bucket: bucket, Untimed: untimed, Sum: time.Duration(sum)}
	}
	return Overlay{
		Reads:     histogram(v.Reads.Bucket, v.Reads.Untimed, v.Reads.Sum),
		Writes:    histogram(v.Writes.Bucket, v.Writes.Untimed, v.Writes.Sum),
		CopyUps:   histogram(v.CopyUps.Bucket, v.CopyUps.Untimed, v.CopyUps.Sum),
		ReadBytes: v.ReadBytes, WriteBytes: v.WriteBytes, Queued: v.Queued,
		SpliceReads: v.SpliceReads, SpliceReadBytes: v.SpliceReadBytes,
		SpliceWrites: v.SpliceWrites, SpliceWriteBytes: v.SpliceWriteBytes,
		CopyRanges: v.CopyRanges, CopyRangeBytes: v.CopyRangeBytes,
		Opens: v.Opens, Mmaps: v.Mmaps, Faults: v.Faults, Creates: v.Creates, Removes: v.Removes, Whiteouts: v.Whiteouts,
		DataCopyUps: v.CopyUpsData, MetaCopyUps: v.CopyUpsMetadata, OtherCopy: v.CopyUpsOther, CopyUpBytes: v.CopyUpBytes,
	}
}

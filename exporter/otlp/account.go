package otlp

// Drop is why lines were dropped.
type Drop string

// Reasons.
const (
	DropFull     Drop = "full"      // the queue in memory was full: of the oldest
	DropDiskFull Drop = "disk_full" // the queue on disk was full: of the oldest
	DropDisk     Drop = "disk"      // the queue on disk could not be read or written
	DropRejected Drop = "rejected"  // the receiver refuses them for good
	DropExpired  Drop = "expired"   // tried for Backoff.GiveUp
	DropShutdown Drop = "shutdown"  // left when all ended
)

func drops() []Drop {
	return []Drop{DropFull, DropDiskFull, DropDisk, DropRejected, DropExpired, DropShutdown}
}

// Stats of an Exporter at one moment: Put is Sent, Dropped and queued, together.
type Stats struct {
	Put     Count // also what an earlier run left on disk
	Sent    Count
	Dropped map[Drop]Count
	Memory  Count // queued there, or under way from there
	Disk    Count
}

// Count is how many lines, and how many bytes they count as.
type Count struct{ Records, Bytes int64 }

func (c *Count) add(d Count) { c.Records += d.Records; c.Bytes += d.Bytes }
func (c *Count) sub(d Count) { c.Records -= d.Records; c.Bytes -= d.Bytes }

// part says what was sent when n records were rejected. Which ones is not told, so
// their bytes are in proportion.
func (b batch) part(n int64) (sent, rejected Count) {
	n = min(n, b.Records)
	rejected = Count{n, b.Bytes / b.Records * n}
	if n == b.Records {
		rejected = b.Count
	}
	sent = b.Count
	sent.sub(rejected)
	return sent, rejected
}

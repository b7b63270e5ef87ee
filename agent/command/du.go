package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/disk"
	"github.com/eyas-agent/eyas/collectors/layers"
	"github.com/eyas-agent/eyas/exporter/api"
)

func newDU(env Env) *cobra.Command {
	k := &client{env: env}
	files := 10
	c := &cobra.Command{
		Use: "du [CHAIN]", Short: "Show what containers wrote to their overlays, and the largest files copied up",
		Long: "Show what each container's upper directory takes on its disk: allocated bytes, files\n" +
			"and what is free beside them; and the largest files that were copied up from a lower\n" +
			"layer because somebody wrote to them. With CHAIN, those of that container and of the\n" +
			"containers inside it. Directories are read for this, for at most 30 s each.",
		Example: "  eyas du\n  eyas du web/db --files 20 -o wide",
		Args:    args(cobra.MaximumNArgs(1)), ValidArgsFunction: k.complete,
		RunE: func(c *cobra.Command, a []string) error {
			if files < 0 {
				return usageError{fmt.Errorf("--files: want 0 or more, got %d", files)}
			}
			return k.ask(c.Context(), func(ctx context.Context, q api.Querier) error {
				return k.du(ctx, q, strings.Join(a, ""), files)
			})
		},
	}
	k.flags(c)
	c.Flags().IntVar(&files, "files", files, "how many copied-up files to list of each overlay, at most 1000")
	return c
}

func (k *client) du(ctx context.Context, q api.Querier, chain string, files int) error {
	disks, err := q.Disks(ctx, chain, files)
	if err != nil {
		return err
	}
	if k.output == "json" {
		return writeJSON(k.env.Stdout, disks)
	}
	wide := k.output == "wide"
	header := []string{"CHAIN", "MOUNT", "KIND", "DEPTH", "FS", "BYTES", "FILES", "FREE", "UPPER"}
	if wide {
		header = []string{"CHAIN", "MOUNT", "KIND", "DEPTH", "FS", "BYTES", "FILES", "DIRS", "OTHERS", "WHITEOUTS", "OPAQUE",
			"COPIED UP", "BYTES", "METADATA ONLY", "FREE", "SIZE", "DEVICE", "SHARED WITH", "UPPER"}
	}
	t := newTable(k.env.Stdout, header...)
	for _, d := range disks {
		row := []any{chainText(d.Chain), Escape(clip(d.Point, 128)), d.Kind, depthText(d), orDash(Escape(d.FSType)), usageText(d.Usage)}
		if wide {
			row = append(row, usageDetails(d.Usage)...)
			row = append(row, sizeText(d.Available), sizeText(d.Size), orDash(Escape(d.Device)), orDash(d.Shared))
		} else {
			row = append(row, countText(d.Usage, func(u *disk.Usage) uint64 { return u.Files }), sizeText(d.Available))
		}
		t.AppendRow(append(row, upperText(d)))
	}
	t.Render()
	k.copiedUp(disks)
	return nil
}

// copiedUp lists the largest files, and says what is not whole.
func (k *client) copiedUp(disks []answers.Disk) {
	w := k.env.Stdout
	t := newTable(w, "CHAIN", "MOUNT", "BYTES", "SIZE", "COPIED UP")
	for _, d := range disks {
		if d.Usage == nil || d.Shared != "" {
			continue
		}
		for _, f := range d.Usage.CopiedUp.Largest {
			t.AppendRow([]any{chainText(d.Chain), Escape(clip(d.Point, 128)), units.BytesSize(float64(f.Bytes)), units.BytesSize(float64(f.Size)), Escape(clip(f.Path, 512))})
		}
	}
	if t.Length() > 0 {
		fmt.Fprintln(w)
		t.Render()
	}
	for _, d := range disks {
		if d.Usage == nil || d.Shared != "" {
			continue
		}
		where := chainText(d.Chain) + " " + Escape(clip(d.Point, 128))
		switch d.Usage.CopiedUp.By {
		case disk.ByLower:
			fmt.Fprintf(w, "%s: overlayfs's marks cannot be read: shown as copied up is what a lower layer has, too\n", where)
		case "":
			fmt.Fprintf(w, "%s: what was copied up is not known: overlayfs's marks and the lower layers cannot be read\n", where)
		}
		for _, why := range d.Usage.Cut {
			fmt.Fprintf(w, "%s: at least that much: %s\n", where, Escape(why))
		}
	}
}

// usageText is what an upper directory takes.
func usageText(u *disk.Usage) string {
	if u == nil {
		return "-"
	}
	size := units.BytesSize(float64(u.Bytes))
	if len(u.Cut) > 0 {
		return "at least " + size
	}
	return size
}

func countText(u *disk.Usage, n func(*disk.Usage) uint64) string {
	if u == nil {
		return "-"
	}
	return fmt.Sprint(n(u))
}

func usageDetails(u *disk.Usage) []any {
	var row []any
	for _, n := range []func(*disk.Usage) uint64{
		func(u *disk.Usage) uint64 { return u.Files }, func(u *disk.Usage) uint64 { return u.Directories },
		func(u *disk.Usage) uint64 { return u.Others }, func(u *disk.Usage) uint64 { return u.Whiteouts },
		func(u *disk.Usage) uint64 { return u.Opaque }, func(u *disk.Usage) uint64 { return u.CopiedUp.Files },
	} {
		row = append(row, countText(u, n))
	}
	copied := "-"
	if u != nil {
		copied = units.BytesSize(float64(u.CopiedUp.Bytes))
	}
	return append(row, copied, countText(u, func(u *disk.Usage) uint64 { return u.CopiedUp.MetadataOnly }))
}

// depthText is how deep overlays lie upon overlays.
func depthText(d answers.Disk) string {
	switch {
	case d.Kind != layers.KindOverlay:
		return "-"
	case d.Depth == nil:
		return "?"
	}
	return fmt.Sprint(*d.Depth)
}

// upperText is the upper directory, or why it is not known.
func upperText(d answers.Disk) string {
	var parts []string
	if d.Upper != "" {
		parts = append(parts, Escape(clip(d.Upper, 512)))
	}
	if d.Shared != "" {
		parts = append(parts, "(that of "+Escape(d.Shared)+")")
	}
	if d.Note != "" {
		parts = append(parts, "("+Escape(clip(d.Note, 512))+")")
	}
	return orDash(strings.Join(parts, " "))
}

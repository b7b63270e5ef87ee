package bpf

// layeredPrograms are those of overlay.bpf.c.
func layeredPrograms() []trampolineInfo {
	return []trampolineInfo{
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_READ), "overlay_read", "fexit/ovl_read_iter", "reads of overlays"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_READ_START), "overlay_read_start", "fentry/ovl_read_iter", "how long reads of overlays take"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_WRITE), "overlay_write", "fexit/ovl_write_iter", "writes to overlays"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_WRITE_START), "overlay_write_start", "fentry/ovl_write_iter", "how long writes to overlays take"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_SPLICE_READ), "overlay_splice_read", "fexit/ovl_splice_read", "splices from overlays, such as sendfile (before 6.5 they are reads)"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_SPLICE_WRITE), "overlay_splice_write", "fexit/ovl_splice_write", "splices to overlays"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_COPY_RANGE), "overlay_copy_range", "fexit/ovl_copy_file_range", "copies by copy_file_range within overlays"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_OPEN), "overlay_open", "fexit/ovl_open", "opens of files of overlays"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_MMAP), "overlay_mmap", "fexit/ovl_mmap", "mappings of files of overlays"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_FAULT), "overlay_fault", "fexit/filemap_fault", "pages that mappings of files of overlays asked for"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_CREATE), "overlay_create", "fexit/ovl_create_object", "files made in overlays"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_REMOVE), "overlay_remove", "fexit/ovl_do_remove", "removals in overlays, and whiteouts"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_REMOVE_START), "overlay_remove_start", "fentry/ovl_do_remove", "whiteouts in overlays"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_WHITEOUT), "overlay_whiteout", "fexit/ovl_cleanup_and_whiteout", "whiteouts in overlays"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_COPY_UP), "overlay_copy_up", "fexit/ovl_copy_up_one", "copy-ups"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_COPY_UP_START), "overlay_copy_up_start", "fentry/ovl_copy_up_one", "copy-ups"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_COPY_UP_DATA), "overlay_copy_up_data", "fexit/ovl_copy_up_file", "bytes copied up"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_COPY_UP_META), "overlay_copy_up_meta", "fexit/ovl_copy_up_metadata", "copy-ups without content, and of directories"},
	}
}

// FuseHooks begins the names of the hooks that fuse-overlayfs has.
const FuseHooks = "overlay_fuse_"

// fusePrograms are those of overlayfuse.h.
func fusePrograms() []trampolineInfo {
	return []trampolineInfo{
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_FUSE_READ), "overlay_fuse_read", "fexit/fuse_file_read_iter", "reads of fuse-overlayfs"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_FUSE_READ_START), "overlay_fuse_read_start", "fentry/fuse_file_read_iter", "how long reads of fuse-overlayfs take"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_FUSE_WRITE), "overlay_fuse_write", "fexit/fuse_file_write_iter", "writes to fuse-overlayfs"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_FUSE_WRITE_START), "overlay_fuse_write_start", "fentry/fuse_file_write_iter", "how long writes to fuse-overlayfs take"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_FUSE_SPLICE_READ), "overlay_fuse_splice_read", "fexit/fuse_splice_read", "splices from fuse-overlayfs, such as sendfile (before 6.5 they are reads)"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_FUSE_MMAP), "overlay_fuse_mmap", "fexit/fuse_file_mmap", "mappings of files of fuse-overlayfs"},
		{uint32(overlayEyasOverlayProgramEYAS_OVERLAY_FUSE_OPEN), "overlay_fuse_open", "fexit/fuse_open", "opens of files of fuse-overlayfs"},
	}
}

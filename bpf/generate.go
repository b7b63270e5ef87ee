package bpf

// The flags are part of what makes the object reproducible: the clang and the
// BPF instruction set (v3: 6.1 refuses v4) are pinned, the types are those of
// wire.h.
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -mcpu=v3" -type eyas_header -type eyas_process -type eyas_exit -type eyas_attach -type eyas_hint -type eyas_victim -type eyas_memcg -type eyas_memcg_flag -type eyas_extent -type eyas_userns -type eyas_counts_key -type eyas_counts -type eyas_stats -type eyas_kind -type eyas_flag -type eyas_program identity identity.bpf.c
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -mcpu=v3" -type eyas_overlay_key -type eyas_overlay -type eyas_overlay_program -type eyas_histogram overlay overlay.bpf.c
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -mcpu=v3" -type eyas_denial_key -type eyas_denial -type eyas_denial_process -type eyas_denial_op -type eyas_denial_cause -type eyas_denial_program denials denials.bpf.c
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -mcpu=v3" -type eyas_log_box -type eyas_log_inode -type eyas_log_key -type eyas_log_stream -type eyas_log_record -type eyas_log_fd -type eyas_log_select -type eyas_log_program logs logs.bpf.c

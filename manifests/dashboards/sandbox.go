package dashboards

const inBox = inFleet + `,container=~"$container"`

// each is one line per container, the outermost and those inside it.
const each = "{{container}} {{nested}}"

func sandbox() map[string]any {
	rate := func(metric, more string) string {
		return `rate(` + metric + `{` + inBox + more + `}[$__rate_interval])`
	}
	return board("eyas-sandbox", "eyas / Sandbox", "One pod: the containers inside it, what they use and what they are refused.", variables("eyas_container_info", "cluster", "namespace", "pod", "container"),
		section{"Now", []panel{
			number("Containers", "short", "The outermost container and all inside that have series of their own.", plain, `count(eyas_container_info{`+inBox+`})`),
			number("Processes", "short", "Live processes, at all levels.", plain, `sum(eyas_container_processes{`+inBox+`})`),
			number("Zombies", "short", "Dead processes that nobody has reaped.", []step{{"green", nil}, {"orange", 50}}, `sum(eyas_container_zombies{`+inBox+`})`),
			number("Escaped", "short", "Containers outside the cgroup subtree of the container around them.", none, `sum(eyas_container_escaped{`+inBox+`})`).alert("EyasContainerEscaped"),
			number("OOM kills", "short", "Processes that the OOM killer chose, in the time shown.", none, `round(sum(increase(eyas_container_oom_kills_total{`+inBox+`}[$__range])))`).alert("EyasOOMKills"),
			number("Denials", "short", "Calls that were refused, in the time shown; nothing where the kernel refuses the programs that count them.", plain, `round(sum(increase(eyas_denials_total{`+inBox+`}[$__range]))) or 0 * (sum(eyas_hook_state{cluster=~"$cluster",hook=~"denials_.*",state!="missing"}) > 0)`).alert("EyasDenialsBurst"),
			table("Chain", "Who is inside whom: level 1 is the outermost container. eyas tree and eyas whois on the node tell more.", map[string]string{
				"level": "1 Level", "name": "2 Name", "runtime": "3 Runtime", "image": "4 Image", "container": "5 Outermost", "nested": "6 Nested", "Value #B": "7 Processes", "Value #C": "8 Threads",
			},
				`max by (container, nested, level, name, runtime, image) (eyas_container_info{`+inBox+`})`,
				`sum by (container, nested, level) (eyas_container_processes{`+inBox+`})`,
				`sum by (container, nested, level) (eyas_container_threads{`+inBox+`})`),
		}},
		section{"Processes", []panel{
			line("Processes", "short", "Live processes right in each container.", query{`sum by (container, nested) (eyas_container_processes{` + inBox + `})`, each}).stacked(),
			line("Tasks against the limit", "short", "Tasks in the cgroup of each container and those inside, and the limit if there is one.",
				query{`eyas_container_pids_current{` + inBox + `}`, each}, query{`eyas_container_pids_max{` + inBox + `} < +Inf`, "limit of " + each}).alert("EyasPidsNearLimit"),
			line("Forks", "ops", "Processes born each second.", query{`sum by (container, nested) (` + rate("eyas_container_forks_total", "") + `)`, each}),
			line("Programs run", "ops", "Programs executed each second.", query{`sum by (container, nested) (` + rate("eyas_container_exec_total", "") + `)`, each}),
			line("Exits", "ops", "Processes that ended each second: with status 0, another one, or by a signal.", query{`sum by (kind) (` + rate("eyas_container_exits_total", "") + `)`, "{{kind}}"}).stacked(),
			line("Threads started", "ops", "Threads that are not the first of their process, each second.", query{`sum by (container, nested) (` + rate("eyas_container_threads_started_total", "") + `)`, each}),
		}},
		section{"Memory and CPU", []panel{
			line("Memory against the limit", "bytes", "Memory of each container's cgroup and those inside, caches included, and the limit if there is one.",
				query{`eyas_container_memory_bytes{` + inBox + `}`, each}, query{`eyas_container_memory_max_bytes{` + inBox + `} < +Inf`, "limit of " + each}),
			line("OOM kills", "short", "Processes that the OOM killer chose within five minutes.", query{`sum by (container, nested) (increase(eyas_container_oom_kills_total{` + inBox + `}[5m]))`, each}).alert("EyasOOMKills"),
			line("At limits on memory", "ops", "Times each second that a limit on memory was hit, in the cgroup and those inside.", query{`sum by (event) (` + rate("eyas_container_memory_events_total", `,scope="subtree"`) + `)`, "{{event}}"}),
			line("CPU", "short", "CPUs in use, by the cgroup and those inside.", query{`sum by (container, nested) (` + rate("eyas_container_cpu_seconds_total", "") + `)`, each}),
			line("Throttled", "percentunit", "Share of periods in which the limit on CPU time was hit.",
				query{`sum by (container, nested) (` + rate("eyas_container_cpu_throttled_periods_total", "") + `) / sum by (container, nested) (` + rate("eyas_container_cpu_periods_total", "") + ` > 0)`, each}),
			line("Pressure", "percentunit", "Share of time that some task stood still for lack of a resource.", query{`max by (resource) (` + rate("eyas_container_pressure_seconds_total", `,kind="some"`) + `)`, "{{resource}}"}),
		}},
		section{"Overlay: I/O and copy-ups", []panel{
			line("Read", "Bps", "Bytes read through the layered file system. An overlay upon an overlay counts at each depth; depth 0 is fuse-overlayfs.", query{`sum by (container, nested, depth, driver) (` + rate("eyas_overlay_read_bytes_total", "") + `)`, each + " {{driver}} depth {{depth}}"}),
			line("Written", "Bps", "Bytes written through the layered file system.", query{`sum by (container, nested, depth, driver) (` + rate("eyas_overlay_write_bytes_total", "") + `)`, each + " {{driver}} depth {{depth}}"}),
			line("Time of reads and writes", "s", "95th percentile, by kind.",
				query{`histogram_quantile(0.95, sum by (le) (` + rate("eyas_overlay_read_seconds_bucket", "") + `))`, "read"}, query{`histogram_quantile(0.95, sum by (le) (` + rate("eyas_overlay_write_seconds_bucket", "") + `))`, "write"}),
			line("Copy-ups", "ops", "Files copied from a lower layer each second: with content (data), without (metadata), or no files (other).", query{`sum by (kind) (` + rate("eyas_overlay_copy_ups_total", "") + `)`, "{{kind}}"}).stacked(),
			line("Copied up", "Bps", "Lengths of files copied up each second: what a chmod or a first write of a byte costs.", query{`sum by (container, nested) (` + rate("eyas_overlay_copy_up_bytes_total", "") + `)`, each}),
			line("Room for writes", "bytes", "What is left in the file system below the upper layer of each container's root, and its size.",
				query{`eyas_overlay_upper_available_bytes{` + inBox + `}`, each}, query{`eyas_overlay_upper_size_bytes{` + inBox + `}`, "size of " + each}).alert("EyasOverlayDiskLow"),
		}},
		section{"Denials and logs", []panel{
			line("Denials by cause", "ops", "Calls that were refused each second. eyas explain on the node tells which, and what helps.", query{`sum by (cause) (` + rate("eyas_denials_total", "") + `)`, "{{cause}}"}).stacked().alert("EyasDenialsBurst"),
			line("Log lines", "ops", "Lines that containers wrote to stdout and stderr each second.", query{`sum by (container, nested) (` + rate("eyas_log_lines_total", "") + `)`, each}),
			line("Log bytes", "Bps", "Bytes taken over, and dropped because the container wrote more than logs-rate or the ring was full.",
				query{`sum(` + rate("eyas_log_bytes_total", "") + `)`, "taken over"}, query{`sum(` + rate("eyas_log_dropped_bytes_total", "") + `)`, "dropped"}).alert("EyasLogsDropped"),
		}},
	)
}

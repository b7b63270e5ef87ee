package dashboards

const onNode = `cluster=~"$cluster",instance=~"$instance"`

func agent() map[string]any {
	rate := func(metric, more string) string {
		return `rate(` + metric + `{` + onNode + more + `}[$__rate_interval])`
	}
	grown := func(metric string) string { return `sum(increase(` + metric + `{` + onNode + `}[$__range]))` }
	perHook := func(metric string) string { return `sum by (hook) (` + rate(metric, "") + `)` }
	return board("eyas-agent", "eyas / Agent", "How the agent fares: its health, what it lost, what it costs, its hooks.", variables("eyas_build_info", "cluster", "instance"),
		section{"Health", []panel{
			number("Agents", "short", "Agents that are scraped.", plain, `count(eyas_build_info{`+onNode+`})`),
			number("Last comparison", "s", "The longest time since an agent compared its table with the kernel.", []step{{"green", nil}, {"red", 900}}, `max(time() - eyas_reconcile_last_timestamp_seconds{`+onNode+`})`).alert("EyasReconcileStale"),
			number("Drift", "short", "Wrong entries found without a loss of events, in the time shown: must stay 0.", none, grown("eyas_reconcile_drift_total")).alert("EyasReconcileDrift"),
			number("Events lost", "short", "Records for which a ring had no room, in the time shown.", none, grown("eyas_events_lost_total")).alert("EyasEventsLost"),
			number("Hooks not active", "short", "Programs that the kernel refused, or that do not fire.", []step{{"green", nil}, {"orange", 1}}, `sum(eyas_hook_state{`+onNode+`,state=~"missing|silent"})`).alert("EyasHookMissing"),
			number("Damaged histories", "short", "Files of the history that were set aside since the agents started.", none, `sum(eyas_history_damaged_total{`+onNode+`})`).alert("EyasHistoryDamaged"),
			table("Agents", "Which version runs where.", map[string]string{"instance": "1 Node", "version": "2 Version", "goversion": "3 Go"}, `eyas_build_info{`+onNode+`}`).wide(8),
			table("Checks that do not pass", "What eyas doctor node says: run it on the node to read the cause and the fix.", map[string]string{"instance": "1 Node", "check": "2 Check", "state": "3 State"}, `eyas_doctor_check{`+onNode+`,state=~"fail|warn"} == 1`).by("State").wide(16).alert("EyasNodeUnfit"),
		}},
		section{"Losses", []panel{
			line("Events lost", "ops", "Records for which a ring had no room, by hook; each loss leads to a new snapshot.", query{perHook("eyas_events_lost_total"), "{{hook}}"}).alert("EyasEventsLost"),
			line("Runs skipped", "ops", "Runs of programs that the kernel skipped, and what was found out all the same.",
				query{`sum(` + rate("eyas_hook_missed_total", "") + `)`, "skipped"}, query{`sum(` + rate("eyas_hook_recovered_total", "") + `)`, "found out"}),
			line("Table mended", "short", "Entries found wrong within five minutes: drift is a fault, repaired follows a loss, adopted came without a fork.",
				query{`sum(increase(eyas_reconcile_drift_total{` + onNode + `}[5m]))`, "drift"}, query{`sum(increase(eyas_reconcile_repaired_total{` + onNode + `}[5m]))`, "repaired"}, query{`sum(increase(eyas_reconcile_adopted_total{` + onNode + `}[5m]))`, "adopted"}).alert("EyasReconcileDrift"),
			line("Not counted", "ops", "Events that were not counted because a kernel map was full, by hook.", query{perHook("eyas_counts_lost_total"), "{{hook}}"}).alert("EyasKernelMapFull"),
			line("Kernel maps", "percentunit", "Share of the rows in use, by map.", query{`max by (map) (eyas_bpf_map_entries{` + onNode + `} / eyas_bpf_map_capacity{` + onNode + `})`, "{{map}}"}).alert("EyasKernelMapFull"),
			line("Event ring", "percentunit", "Share of the ring that is unread.", query{`max by (instance) (eyas_ringbuf_filled_bytes{` + onNode + `} / eyas_ringbuf_size_bytes{` + onNode + `})`, "{{instance}}"}).alert("EyasEventsLost"),
		}},
		section{"Cost", []panel{
			line("CPU of the agent", "percentunit", "Share of one CPU that the agent's process uses.", query{rate("process_cpu_seconds_total", `,job=~".*eyas.*"`), "{{instance}}"}),
			line("CPU of its programs", "percentunit", "Share of one CPU that BPF programs use, by hook: paid by whoever runs into them.", query{perHook("eyas_bpf_program_seconds_total"), "{{hook}}"}).stacked(),
			line("Time of a run", "s", "Mean time of one run of a program, with about 60 ns of clock.", query{perHook("eyas_bpf_program_seconds_total") + ` / (` + perHook("eyas_bpf_program_runs_total") + ` > 0)`, "{{hook}}"}),
			line("Memory of the agent", "bytes", "Resident memory.", query{`process_resident_memory_bytes{` + onNode + `,job=~".*eyas.*"}`, "{{instance}}"}),
			line("Time of looks", "s", "The last snapshot of all processes, and the last reading of cgroups.", query{`max(eyas_snapshot_seconds{` + onNode + `})`, "snapshot"}, query{`max(eyas_cgroups_read_seconds{` + onNode + `})`, "cgroups"}).alert("EyasCgroupsOld"),
			line("Table", "short", "Live entries of the identity table.", query{`sum by (table) (eyas_table_entries{` + onNode + `})`, "{{table}}"}),
		}},
		section{"Hooks", []panel{
			table("Hooks that are not active", "missing: the kernel refused it; silent: it does not fire; unproven: nothing has driven it yet. The agent's log has the reason.", map[string]string{
				"instance": "1 Node", "hook": "2 Hook", "target": "3 Target", "state": "4 State",
			}, `eyas_hook_state{`+onNode+`,state!="active"} == 1`).by("State").wide(12).alert("EyasHookMissing"),
			line("Records", "ops", "Records that hooks wrote to rings each second.", query{perHook("eyas_events_total"), "{{hook}}"}).wide(12),
		}},
		section{"History, ids, runtime", []panel{
			line("History", "bytes", "Size of the history's file, and what of it is in use.", query{`sum by (instance) (eyas_history_size_bytes{` + onNode + `})`, "{{instance}}"}, query{`sum by (instance) (eyas_history_used_bytes{` + onNode + `})`, "used at {{instance}}"}),
			line("Records of the history", "ops", "Records written, and given up because the disk did not keep up.", query{`sum(` + rate("eyas_history_written_total", "") + `)`, "written"}, query{`sum(` + rate("eyas_history_dropped_total", "") + `)`, "given up"}).alert("EyasHistoryDropping"),
			line("Leases", "short", "Leases on record, by state.", query{`sum by (state) (eyas_leases{` + onNode + `})`, "{{state}}"}).stacked(),
			line("Ranges of ids", "short", "Blocks of 65536 host ids, by state, without those never used.", query{`sum by (state) (eyas_subid_ranges{` + onNode + `,state!="unused"})`, "{{state}}"}).stacked().alert("EyasSubIDPoolDry"),
			line("Requests of the runtime", "ops", "Requests each second, by how they were answered.", query{`sum by (result) (` + rate("eyas_nri_requests_total", "") + `)`, "{{result}}"}).stacked().alert("EyasRuntimeRequestsFail"),
			line("Time to answer the runtime", "s", "99th percentile; the runtime gives up after its plugin_request_timeout, and eyas at three quarters of that.", query{`histogram_quantile(0.99, sum by (le, event) (` + rate("eyas_nri_request_seconds_bucket", "") + `))`, "{{event}}"}).alert("EyasRuntimeRequestsFail"),
		}},
		section{"Log lines to a receiver", []panel{
			line("Lines", "ops", "Lines put, sent and dropped each second.", query{`sum(` + rate("eyas_otlp_put_records_total", "") + `)`, "put"}, query{`sum(` + rate("eyas_otlp_sent_records_total", "") + `)`, "sent"},
				query{`sum by (reason) (` + rate("eyas_otlp_dropped_records_total", "") + `)`, "dropped: {{reason}}"}).alert("EyasOTLPDropping"),
			line("Queue", "bytes", "Lines that wait for the receiver, in memory and on disk.", query{`sum by (where) (eyas_otlp_queued_bytes{` + onNode + `})`, "{{where}}"}).stacked().alert("EyasOTLPDown"),
			line("Receiver", "short", "1 while the receiver took the last lines.", query{`eyas_otlp_up{` + onNode + `}`, "{{instance}}"}).alert("EyasOTLPDown").upTo(1),
		}},
	)
}

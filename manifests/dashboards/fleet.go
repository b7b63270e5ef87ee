package dashboards

// Selectors of what the variables choose.
const (
	inFleet = `cluster=~"$cluster",namespace=~"$namespace",pod=~"$pod"`
	onNodes = `cluster=~"$cluster"`
	perBox  = `sum by (cluster, instance, namespace, pod, container) `
)

func fleet() map[string]any {
	toSandbox := "/d/eyas-sandbox?${datasource:queryparam}&${cluster:queryparam}&var-namespace=${__data.fields.Namespace}&var-pod=${__data.fields.Pod}&var-container=${__data.fields.Container}"
	return board("eyas-fleet", "eyas / Fleet", "All nodes: sandboxes, what is wrong with them, and who uses most.", variables("eyas_container_info", "cluster", "namespace", "pod"),
		section{"Now", []panel{
			number("Agents", "short", "Nodes whose agent is scraped.", plain, `count(eyas_build_info{`+onNodes+`})`),
			number("Agents down", "short", "Agents that Prometheus cannot scrape.", none, `count(up{job=~".*eyas.*",`+onNodes+`} == 0) or vector(0)`).alert("EyasAgentDown"),
			number("Sandboxes", "short", "Outermost containers: those with a pid or user namespace of their own.", plain, `count(eyas_container_info{`+inFleet+`,nested=""}) or vector(0)`),
			number("Nested containers", "short", "Containers inside others, also those without series of their own.", plain,
				`(count(eyas_container_info{`+inFleet+`,nested!=""}) or vector(0)) + (sum(eyas_nested_folded{`+inFleet+`}) or vector(0))`),
			number("Unprepared sandboxes", "short", "Containers that are to be sandboxes and are not, or not wholly, prepared.", none, `sum(eyas_unprepared_containers{`+onNodes+`}) or vector(0)`).alert("EyasSandboxUnprepared"),
			number("Escaped containers", "short", "Containers outside the cgroup subtree of the container around them: its limits do not hold for them.", none, `sum(eyas_container_escaped{`+inFleet+`})`).alert("EyasContainerEscaped"),
		}},
		section{"Sandboxes", []panel{
			table("Sandboxes", "Each outermost container with all that is inside it. Its name leads to its own dashboard.", map[string]string{
				"name": "1 Name", "namespace": "2 Namespace", "pod": "3 Pod", "container": "4 Container", "instance": "5 Node", "Value #B": "6 Processes", "Value #C": "7 Forks/s", "Value #D": "8 Denials/s", "cluster": "9 Cluster",
			},
				`max by (cluster, instance, namespace, pod, container, name) (eyas_container_info{`+inFleet+`,nested=""})`,
				perBox+`(eyas_container_processes{`+inFleet+`})`,
				perBox+`(rate(eyas_container_forks_total{`+inFleet+`}[$__rate_interval]))`,
				perBox+`(rate(eyas_denials_total{`+inFleet+`}[$__rate_interval]))`).to(toSandbox),
			bars("Tasks against limits", "percentunit", "The ten containers nearest to the limit of their pids controller; without a limit there is no bar.", share,
				query{`topk(10, eyas_container_pids_current{` + inFleet + `} / (eyas_container_pids_max{` + inFleet + `} < +Inf))`, "{{pod}} {{container}} {{nested}}"}).alert("EyasPidsNearLimit"),
			bars("Memory against limits", "percentunit", "The ten containers nearest to their limit on memory, caches included: full is not yet a fault.", share,
				query{`topk(10, eyas_container_memory_bytes{` + inFleet + `} / (eyas_container_memory_max_bytes{` + inFleet + `} < +Inf))`, "{{pod}} {{container}} {{nested}}"}),
		}},
		section{"Over time", []panel{
			line("Processes", "short", "Live processes in containers, by node.", query{`sum by (instance) (eyas_container_processes{` + inFleet + `})`, "{{instance}}"}).stacked(),
			line("Forks", "ops", "Processes born in containers each second, by node.", query{`sum by (instance) (rate(eyas_container_forks_total{` + inFleet + `}[$__rate_interval]))`, "{{instance}}"}).stacked(),
			line("Denials", "ops", "Calls that were refused each second, by cause.", query{`sum by (cause) (rate(eyas_denials_total{` + inFleet + `}[$__rate_interval]))`, "{{cause}}"}).stacked().alert("EyasDenialsBurst"),
			line("OOM kills", "short", "Kills within five minutes, by whose limit it was.", query{`sum by (limit) (increase(eyas_oom_kills_total{` + onNodes + `}[5m]))`, "{{limit}}"}).stacked().alert("EyasOOMKills"),
			line("Through overlays", "Bps", "Bytes read and written through the layered file system, at the innermost depth.",
				query{`sum(rate(eyas_overlay_read_bytes_total{` + inFleet + `,depth=~"0|1"}[$__rate_interval]))`, "read"}, query{`sum(rate(eyas_overlay_write_bytes_total{` + inFleet + `,depth=~"0|1"}[$__rate_interval]))`, "written"}),
			line("Logs not taken over", "Bps", "Bytes of containers' output that were dropped, by node.", query{`sum by (instance) (rate(eyas_log_dropped_bytes_total{` + inFleet + `}[$__rate_interval]))`, "{{instance}}"}).alert("EyasLogsDropped"),
		}},
		section{"Nodes", []panel{
			table("Checks that do not pass", "What eyas doctor node says of each node: run it there to read the cause and the fix.", map[string]string{
				"instance": "1 Node", "check": "2 Check", "state": "3 State", "cluster": "4 Cluster",
			}, `eyas_doctor_check{`+onNodes+`,state=~"fail|warn"} == 1`).by("State").wide(12).alert("EyasNodeUnfit"),
			bars("Ids left to lease", "percentunit", "Share of the pool of host ids that can be leased now, by node.", rest,
				query{`sum by (instance) (eyas_subid_ranges{` + onNodes + `,state=~"rested|unused"}) / sum by (instance) (eyas_subid_ranges{` + onNodes + `})`, "{{instance}}"}).alert("EyasSubIDPoolDry"),
			line("Boundary of cgroups", "short", "1 while the node's cgroup2 has nsdelegate: without it a container with a writable cgroup mount can lift its own limits.", query{`eyas_cgroup_nsdelegate{` + onNodes + `}`, "{{instance}}"}).alert("EyasNSDelegateLost").wide(12).upTo(1),
			line("Connected to the runtime", "short", "1 while the container runtime tells of containers in time.", query{`eyas_nri_connected{` + onNodes + `}`, "{{instance}}"}).alert("EyasRuntimeDisconnected").wide(12).upTo(1),
		}},
	)
}

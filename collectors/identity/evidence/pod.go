package evidence

// PodContainer returns the uid of the pod, and the runtime's id of the container in
// it, that a cgroup path names outermost; "" is what it does not say. Whatever is
// further in a tenant may have chosen, or it is a cluster's inside a container.
func PodContainer(path string) (uid, container string) {
	for _, r := range ParseCgroupPath(path) {
		switch {
		case r.Conmon:
		case uid == "" && r.Runtime == RuntimeKubernetes:
			uid = r.PodUID
		case uid != "" && !r.Pod():
			if r.PodUID != uid {
				return uid, ""
			}
			return uid, r.ID
		default:
			return uid, ""
		}
	}
	return uid, ""
}

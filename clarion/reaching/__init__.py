"""How a cluster is reached: by the caller's kubeconfig, or as a pod does; and how it is listed."""

"""The state of a cluster that manifests in a directory describe."""

target "default" { cache-from = [{ type = "gha", scope = null }] }

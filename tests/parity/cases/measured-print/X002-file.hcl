target "default" { output = ["type=local,dest=X002-file.hcl"] }

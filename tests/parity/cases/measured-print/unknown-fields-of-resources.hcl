target "default" { resources = { cpus = 2 } }

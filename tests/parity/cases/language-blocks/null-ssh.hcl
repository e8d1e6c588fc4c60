target "default" { ssh = null }

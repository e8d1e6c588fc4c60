target "default" { network = null }

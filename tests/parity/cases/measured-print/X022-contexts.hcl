target "default" { contexts = null }

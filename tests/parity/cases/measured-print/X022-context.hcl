target "default" { context = null }

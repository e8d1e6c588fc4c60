target "default" { policy = null }

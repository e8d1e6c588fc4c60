target "default" { target = null }

target "default" { platforms = null }

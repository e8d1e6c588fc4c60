target "default" { call = null }

target "default" { args = null }

target "default" { description = null }
